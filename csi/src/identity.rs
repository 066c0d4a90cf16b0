//! The Identity service: who the driver is and whether it works.
#![forbid(unsafe_code)]

use std::sync::Arc;

use thinly_csi_wire::identity_server::Identity;
use thinly_csi_wire::plugin_capability::service::Type as Service;
use thinly_csi_wire::plugin_capability::volume_expansion::Type as Expansion;
use thinly_csi_wire::plugin_capability::{self, Type};
use thinly_csi_wire::{
    GetPluginCapabilitiesRequest, GetPluginCapabilitiesResponse, GetPluginInfoRequest,
    GetPluginInfoResponse, PluginCapability, ProbeRequest, ProbeResponse,
};
use tonic::{Request, Response, Status};

use crate::driver::Driver;

/// The Identity service.
#[derive(Debug)]
pub(crate) struct IdentityService(pub(crate) Arc<Driver>);

#[tonic::async_trait]
impl Identity for IdentityService {
    async fn get_plugin_info(
        &self,
        _: Request<GetPluginInfoRequest>,
    ) -> Result<Response<GetPluginInfoResponse>, Status> {
        Ok(Response::new(GetPluginInfoResponse {
            name: self.0.identity.driver_name.clone(),
            vendor_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Default::default()
        }))
    }

    async fn get_plugin_capabilities(
        &self,
        _: Request<GetPluginCapabilitiesRequest>,
    ) -> Result<Response<GetPluginCapabilitiesResponse>, Status> {
        let service =
            |service: Service| Type::Service(plugin_capability::Service { r#type: service.into() });
        let expansion = |expansion: Expansion| {
            Type::VolumeExpansion(plugin_capability::VolumeExpansion { r#type: expansion.into() })
        };
        let mut types = vec![
            service(Service::ControllerService),
            service(Service::VolumeAccessibilityConstraints),
            service(Service::GroupControllerService),
            expansion(Expansion::Online),
        ];
        if self.0.identity.alpha {
            types.push(service(Service::SnapshotMetadataService));
        }
        let capabilities =
            types.into_iter().map(|r#type| PluginCapability { r#type: Some(r#type) }).collect();
        Ok(Response::new(GetPluginCapabilitiesResponse { capabilities }))
    }

    async fn probe(&self, _: Request<ProbeRequest>) -> Result<Response<ProbeResponse>, Status> {
        Ok(Response::new(ProbeResponse { ready: Some(self.0.is_ready()) }))
    }
}
