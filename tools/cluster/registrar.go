// What node-driver-registrar does: tells kubelet of the driver behind a socket. In its place where no registry is asked.
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

var (
	socket  = flag.String("csi-address", "/csi/csi.sock", "the driver's socket")
	kubelet = flag.String("kubelet-registration-path", "", "the same socket, as kubelet sees it")
)

type server struct{ name string }

func (s server) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type:              registration.CSIPlugin,
		Name:              s.name,
		Endpoint:          *kubelet,
		SupportedVersions: []string{"1.0.0"},
	}, nil
}

// Kubelet has asked the driver for the node by now; a refusal ends this program, and kubelet starts it again.
func (s server) NotifyRegistrationStatus(
	_ context.Context, status *registration.RegistrationStatus,
) (*registration.RegistrationStatusResponse, error) {
	log.Printf("registered: %v %s", status.PluginRegistered, status.Error)
	if !status.PluginRegistered {
		os.Exit(1)
	}
	return &registration.RegistrationStatusResponse{}, nil
}

func name() string {
	dial := func(ctx context.Context, path string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}
	connection, err := grpc.Dial(*socket, grpc.WithAuthority("localhost"), grpc.WithInsecure(),
		grpc.WithContextDialer(dial))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	identity := csi.NewIdentityClient(connection)
	info, err := identity.GetPluginInfo(ctx, &csi.GetPluginInfoRequest{}, grpc.WaitForReady(true))
	if err != nil {
		log.Fatal(err)
	}
	return info.GetName()
}

func main() {
	flag.Parse()
	driver := name()
	path := filepath.Join("/registration", driver+"-reg.sock")
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		log.Fatal(err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		log.Fatal(err)
	}
	grpcServer := grpc.NewServer()
	registration.RegisterRegistrationServer(grpcServer, server{driver})
	log.Fatal(grpcServer.Serve(listener))
}
