//! The environment of a host, written as the kernel keeps it: `NAME=value`, each with a zero at its end.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use trafficrouter_alb::door::{COOKIE, Door};
use trafficrouter_alb::goplugin::HostEnvironment;

fuzz_target!(|environment: &str| {
    let variable = |name: &str| {
        let mut variables = environment.split('\0').filter_map(|variable| variable.split_once('='));
        variables.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    };
    let has_cookie = variable(COOKIE.key).as_deref() == Some(COOKIE.value);
    assert_eq!(HostEnvironment::read(COOKIE, variable).is_ok(), has_cookie);
    let with_cookie = |name: &str| if name == COOKIE.key { Some(COOKIE.value.to_owned()) } else { variable(name) };
    let host = HostEnvironment::read(COOKIE, with_cookie).expect("the cookie is right");
    for chose in [None, Some(Door::Netrpc), Some(Door::Grpc)] {
        let (door, version) = Door::for_host(&host, chose);
        assert!(chose.is_none_or(|chose| chose == door), "{door:?}");
        // A host takes no version that it did not offer, unless we have none of them.
        let is_ours = [Door::Netrpc, Door::Grpc].map(Door::version).contains(&version);
        assert!(is_ours || host.versions == [version], "{version} of {:?}", host.versions);
        let line = host.line(version, "netrpc", Path::new("/tmp/plugin1"), "", false);
        assert!(line.starts_with("1|") && !line.contains('\n'), "{line}");
        assert_eq!(line.split('|').count(), if host.multiplex_offered { 7 } else { 6 }, "{line}");
    }
});
