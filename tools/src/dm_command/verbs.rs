//! What each verb asks the kernel.

use std::io::Write;

use anyhow::Result;
use serde_json::{Value, json};
use thinly_engine::dm::{Control, DeviceInfo, DeviceKey, Dm, DmError, ListedDevice, TableSlot};

use super::{
    DeviceOnly, FormatArguments, ListArguments, MessageArguments, StatusArguments, TableArguments,
    decode, guard, render,
};

pub(super) fn list(
    control: &Control,
    arguments: &ListArguments,
    out: &mut dyn Write,
) -> Result<()> {
    let devices = control.list(&arguments.name_prefix, &arguments.uuid_prefix)?;
    if arguments.format.raw {
        return list_raw(&devices, arguments.format.json, out);
    }
    let mut infos = Vec::new();
    for device in devices {
        match control.device_info(&DeviceKey::Number(device.number)) {
            // Removed since the list was made.
            Err(error) if error.is_not_found() => {}
            info => infos.push(info?),
        }
    }
    if arguments.format.json {
        let values = infos.iter().map(|info| Value::Object(render::object(decode::info(info))));
        return render::document(out, &values.collect());
    }
    let rows = infos.iter().map(list_row).collect();
    render::rows(out, &["NAME", "NUMBER", "OPEN", "EVENTS", "STATE", "UUID"], rows)
}

fn list_row(info: &DeviceInfo) -> Vec<String> {
    vec![
        info.name.to_string(),
        info.number.to_string(),
        info.open_count.to_string(),
        info.event_nr.to_string(),
        decode::state(info),
        info.uuid.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
    ]
}

fn list_raw(devices: &[ListedDevice], as_json: bool, out: &mut dyn Write) -> Result<()> {
    if as_json {
        let values = devices.iter().map(|device| {
            json!({
                "name": device.name.as_str(),
                "uuid": device.uuid.as_ref().map(AsRef::<str>::as_ref),
                "number": device.number.to_string(),
                "event_nr": device.event_nr,
            })
        });
        return render::document(out, &values.collect());
    }
    for device in devices {
        writeln!(out, "{}\t({})", device.name, device.number)?;
    }
    Ok(())
}

pub(super) fn info(control: &Control, arguments: &DeviceOnly, out: &mut dyn Write) -> Result<()> {
    let fields = decode::info(&control.device_info(&arguments.device.0)?);
    if arguments.format.json {
        return render::document(out, &Value::Object(render::object(fields)));
    }
    render::fields(out, &fields, "")
}

pub(super) fn table(
    control: &Control,
    arguments: &TableArguments,
    out: &mut dyn Write,
) -> Result<()> {
    let slot = if arguments.inactive { TableSlot::Inactive } else { TableSlot::Live };
    let lines = control.device_table(&arguments.device.0, slot)?;
    render::target_lines(out, arguments.format, &lines, decode::table)
}

pub(super) fn status(
    control: &Control,
    arguments: &StatusArguments,
    out: &mut dyn Write,
) -> Result<()> {
    let lines = control.device_status(&arguments.device.0, arguments.flush)?;
    render::target_lines(out, arguments.format, &lines, decode::status)
}

pub(super) fn deps(control: &Control, arguments: &DeviceOnly, out: &mut dyn Write) -> Result<()> {
    let numbers = control.device_deps(&arguments.device.0, TableSlot::Live)?;
    let mut below = Vec::new();
    for number in numbers {
        // What is no dm device has no dm name.
        let name = match control.device_info(&DeviceKey::Number(number)) {
            Ok(info) => Some(info.name),
            Err(DmError::NotFound { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        below.push((number, name));
    }
    if arguments.format.json {
        let values = below.iter().map(|(number, name)| {
            json!({"number": number.to_string(), "name": name.as_ref().map(AsRef::<str>::as_ref)})
        });
        return render::document(out, &values.collect());
    }
    for (number, name) in below {
        match name {
            Some(name) if !arguments.format.raw => writeln!(out, "{number}\t{name}")?,
            _ => writeln!(out, "{number}")?,
        }
    }
    Ok(())
}

pub(super) fn message(
    control: &Control,
    arguments: &MessageArguments,
    out: &mut dyn Write,
) -> Result<()> {
    let message = arguments.words.join(" ");
    let info = control.device_info(&arguments.device.0)?;
    guard::check(&info, &message, arguments.yes)?;
    // By number: the device that was checked, even if its name has changed hands.
    let answer = control.device_message(&DeviceKey::Number(info.number), &message)?;
    if arguments.format.json {
        return render::document(out, &json!({"answer": answer}));
    }
    if let Some(answer) = answer {
        writeln!(out, "{}", answer.trim_end())?;
    }
    Ok(())
}

pub(super) fn targets(
    control: &Control,
    format: FormatArguments,
    out: &mut dyn Write,
) -> Result<()> {
    let version = control.version()?;
    let mut targets = control.target_versions()?;
    targets.sort_by(|a, b| a.name.cmp(&b.name));
    if format.json {
        let values: Vec<Value> = targets
            .iter()
            .map(|target| json!({"target": target.name, "version": target.version.to_string()}))
            .collect();
        let value = json!({"ioctl_version": version.to_string(), "targets": values});
        return render::document(out, &value);
    }
    writeln!(out, "device-mapper ioctl {version}")?;
    for target in targets {
        writeln!(out, "{:16} {}", target.name, target.version)?;
    }
    Ok(())
}
