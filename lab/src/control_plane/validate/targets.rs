//! IDs of targets. Source: API reference of TargetDescription and of CreateTargetGroup (`TargetType`).

use std::net::{IpAddr, Ipv4Addr};

use crate::control_plane::error::ApiError;
use crate::control_plane::model::TargetGroup;

/// An instance ID or an IP address, as the type of the group says.
///
/// AWS takes private addresses only. The lab takes loopback addresses too: its targets run on this machine.
pub(crate) fn target_id(group: &TargetGroup, id: &str) -> Result<(), ApiError> {
    if group.target_type == "instance" {
        return if is_instance(id) {
            Ok(())
        } else {
            Err(ApiError::validation(format!("Instance ID '{id}' is not valid")))
        };
    }
    let address: IpAddr =
        id.parse().map_err(|_| ApiError::validation(format!("The IP address '{id}' is not valid")))?;
    let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
    if family != group.ip_address_type {
        return Err(ApiError::validation(format!(
            "The IP address '{id}' is not of the target group's type, {}",
            group.ip_address_type
        )));
    }
    let is_private = match address {
        IpAddr::V4(address) => address.is_private() || address.is_loopback() || is_shared(address),
        IpAddr::V6(_) => true,
    };
    if is_private {
        Ok(())
    } else {
        Err(ApiError::validation(format!(
            "The IP address '{id}' is publicly routable; a target must be within 10.0.0.0/8, 100.64.0.0/10, 172.16.0.0/12 or 192.168.0.0/16"
        )))
    }
}

/// `i-` and 8 or 17 hex digits.
fn is_instance(id: &str) -> bool {
    let Some(digits) = id.strip_prefix("i-") else { return false };
    matches!(digits.len(), 8 | 17) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// RFC 6598.
fn is_shared(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    first == 100 && second & 0xc0 == 64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_plane::fixture::Shop;
    use crate::control_plane::operations::{CreateTargetGroup, Write};

    fn refused(target_type: &str, ip_address_type: &str, ids: &[&str]) -> Vec<String> {
        let mut account = crate::control_plane::model::Account::clone(&Shop::new().control_plane.account());
        let input = CreateTargetGroup {
            name: "group".to_owned(),
            protocol: Some("HTTP".to_owned()),
            port: Some(80),
            vpc_id: Some("vpc-1".to_owned()),
            target_type: Some(target_type.to_owned()),
            ip_address_type: Some(ip_address_type.to_owned()),
            ..CreateTargetGroup::default()
        };
        let group = input.write(&mut account).expect("a group").output.target_groups.remove(0);
        ids.iter().filter(|id| target_id(&group, id).is_err()).map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn the_type_of_the_group_says_what_an_id_is() {
        let ids = [
            "10.0.0.1",
            "100.63.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.31.0.1",
            "192.168.0.1",
            "127.0.0.2",
            "1.1.1.1",
            "::1",
            "fd00::1",
            "i-01234567",
            "i-0123456789abcdef0",
            "i-0",
            "i-0123456g",
            "shop",
            "",
        ];
        let instances = ["i-01234567", "i-0123456789abcdef0"];
        let not_private = ["100.63.255.255", "100.128.0.0", "172.15.0.1", "1.1.1.1"];
        let v6 = ["::1", "fd00::1"];
        let no_addresses = ["i-01234567", "i-0123456789abcdef0", "i-0", "i-0123456g", "shop", ""];
        assert_eq!(refused("ip", "ipv4", &ids), [&not_private[..], &v6, &no_addresses].concat());
        let refused_v6 = refused("ip", "ipv6", &ids);
        assert!(!refused_v6.iter().any(|id| v6.contains(&id.as_str())) && refused_v6.len() == ids.len() - 2);
        assert_eq!(refused("instance", "ipv4", &instances), Vec::<String>::new());
        assert_eq!(refused("instance", "ipv4", &ids).len(), ids.len() - 2);
    }
}
