//! Where a session's requests are to go: as its id says, or as was learnt from who has answered it.

#![forbid(unsafe_code)]

pub mod assignment;
pub mod drained;
pub mod lesson;
pub mod set_cookie;
pub mod write;

/// The route in a Tomcat-style id: what follows the first dot of `id.route` or `id-node.route`
/// (Tomcat's `JvmRouteBinderValve`; memcached-session-manager puts its node before the dot).
pub fn jvm_route(id: &[u8]) -> Option<&[u8]> {
    let dot = id.iter().position(|&byte| byte == b'.')?;
    let route = &id[dot + 1..];
    (!route.is_empty()).then_some(route)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_route_follows_the_first_dot() {
        assert_eq!(jvm_route(b"0A1B2C.app1"), Some(b"app1".as_slice()));
        assert_eq!(jvm_route(b"0A1B2C-n1.app1"), Some(b"app1".as_slice()));
        assert_eq!(jvm_route(b"0A1B2C.app.one"), Some(b"app.one".as_slice()));
    }

    #[test]
    fn an_id_without_a_route_has_none() {
        assert_eq!(jvm_route(b"0A1B2C"), None);
        assert_eq!(jvm_route(b"0A1B2C."), None);
        assert_eq!(jvm_route(b""), None);
    }
}
