//! Services: their cluster address. Nothing routes to it in a served space, but clients expect one,
//! and expect it to stay.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde_json::Value;
use serde_json::json;

use crate::core::Core;
use crate::names;
use crate::object;
use crate::status::Status;

/// The range that upstream's set-up tools give to services: 10.96.0.0/16.
const FIRST_ADDRESS: u32 = 0x0a60_0000;

/// How many addresses the range has.
const ADDRESSES: u32 = 65_536;

/// Gives a service an address unless it states one, or is of a kind without.
pub(super) fn allocate(core: &Core, object: &mut Value) -> Result<(), Status> {
    let spec = &object["spec"];
    let kind = spec["type"].as_str().unwrap_or("ClusterIP");
    let stated = spec["clusterIP"].as_str().unwrap_or_default().to_owned();
    if kind == "ExternalName" {
        return Ok(());
    }
    let address = if stated.is_empty() {
        free_address(core)?
    } else {
        stated
    };
    let spec = &mut object["spec"];
    if spec["clusterIPs"].is_null() {
        spec["clusterIPs"] = json!([address]);
    }
    spec["clusterIP"] = address.into();
    for (field, value) in [
        ("ipFamilies", json!(["IPv4"])),
        ("ipFamilyPolicy", "SingleStack".into()),
    ] {
        if spec[field].is_null() {
            spec[field] = value;
        }
    }
    Ok(())
}

/// The lowest free address. Services are few and created rarely, so a look at all of them is cheaper
/// than an index that has to be kept.
fn free_address(core: &Core) -> Result<String, Status> {
    let page = core
        .store
        .list(&names::resource_prefix("", "services"), None, 0, None)
        .map_err(crate::core::store_failed)?;
    let taken: BTreeSet<String> = page
        .entries
        .iter()
        .filter_map(|entry| {
            let service = object::decode(&entry.value);
            service["spec"]["clusterIP"].as_str().map(str::to_owned)
        })
        .collect();
    // The first address is the network's, the second belongs to `default/kubernetes`, which asks
    // for it by name.
    (2..ADDRESSES - 1)
        .map(|place| Ipv4Addr::from(FIRST_ADDRESS + place).to_string())
        .find(|address| !taken.contains(address))
        .ok_or_else(|| {
            Status::internal("failed to allocate a serviceIP: range is full; delete services first")
        })
}

/// An update that leaves the address out keeps it.
pub(super) fn keep_addresses(new: &mut Value, old: &Value) {
    if new["spec"]["type"] == "ExternalName" || old["spec"]["type"] == "ExternalName" {
        return;
    }
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        let absent = new["spec"][field].is_null() || new["spec"][field] == "";
        if absent && !old["spec"][field].is_null() {
            new["spec"][field] = old["spec"][field].clone();
        } else if absent {
            object::remove_top(&mut new["spec"], field);
        }
    }
}
