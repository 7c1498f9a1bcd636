//! Where a server listens, as the system wants it.

use core::cell::Cell;
use core::ffi::CStr;
use std::net::IpAddr;
use std::rc::Rc;

use nginx_sys::{
    in_addr, ngx_addr_t, ngx_conf_t, ngx_inet_set_port, ngx_int_t, ngx_parse_url,
    ngx_resolver_addr_t, ngx_str_t, ngx_url_t, sockaddr, sockaddr_in, sockaddr_in6,
    sockaddr_storage, socklen_t, AF_INET, AF_INET6, NGX_OK,
};

use super::{bits, pool};
use crate::config::ConfigError;
use crate::store::endpoint::Address;

/// The port of a Redis server where none is given.
pub(super) const REDIS_PORT: u16 = 6379;

/// One server of a store.
#[derive(Clone)]
pub(super) enum Target {
    /// Known since the configuration was read.
    Address(SocketAddress),
    /// To be resolved each time a connection is opened.
    Name(Name),
}

impl Target {
    /// Of an address that is known at run time only: a host name is resolved when it is connected to.
    pub(super) fn of(address: &Address) -> Option<Self> {
        let Address::Host { host, port } = address else { return None };
        let port = port.unwrap_or(REDIS_PORT);
        Some(match host.parse() {
            Ok(ip) => Self::Address(SocketAddress::of_ip(ip, port, address.to_string().into())),
            Err(_) => Self::Name(Name::new(host, port)),
        })
    }

    /// How the log calls it.
    pub(super) fn name(&self) -> &Rc<str> {
        match self {
            Self::Address(address) => &address.name,
            Self::Name(name) => &name.text,
        }
    }
}

/// A host name with its port.
#[derive(Clone)]
pub(super) struct Name {
    /// In cells, since nginx's resolver lower-cases it where it lies.
    pub(super) host: Box<[Cell<u8>]>,
    pub(super) port: u16,
    pub(super) text: Rc<str>,
}

impl Name {
    pub(super) fn new(host: &str, port: u16) -> Self {
        let text = format!("{host}:{port}").into();
        Self { host: host.bytes().map(Cell::new).collect(), port, text }
    }
}

/// An address of any family.
#[derive(Clone)]
pub(super) struct SocketAddress {
    storage: Box<sockaddr_storage>,
    len: socklen_t,
    pub(super) name: Rc<str>,
}

impl SocketAddress {
    /// # Safety
    /// `address` must point to `len` bytes of a socket address.
    unsafe fn copy(address: *const sockaddr, len: socklen_t, name: Rc<str>) -> Self {
        // SAFETY: all zeroes are a valid storage; it is as large as the largest address.
        let mut storage: Box<sockaddr_storage> = Box::new(unsafe { core::mem::zeroed() });
        let bytes = (len as usize).min(size_of::<sockaddr_storage>());
        // SAFETY: the caller vouches for the source, the storage has room.
        unsafe {
            core::ptr::from_mut(&mut *storage)
                .cast::<u8>()
                .copy_from_nonoverlapping(address.cast::<u8>(), bytes);
        }
        Self { storage, len, name }
    }

    fn of_ip(ip: IpAddr, port: u16, name: Rc<str>) -> Self {
        // SAFETY: all zeroes are a valid address of either family; each is copied with its own length, and the
        // copy is ours to set the port of.
        unsafe {
            let mut copy = match ip {
                IpAddr::V4(ip) => {
                    let mut address: sockaddr_in = core::mem::zeroed();
                    address.sin_family = AF_INET as _;
                    address.sin_addr = in_addr { s_addr: u32::from_ne_bytes(ip.octets()) };
                    Self::copy((&raw const address).cast(), size_of::<sockaddr_in>() as _, name)
                }
                IpAddr::V6(ip) => {
                    let mut address: sockaddr_in6 = core::mem::zeroed();
                    address.sin6_family = AF_INET6 as _;
                    address.sin6_addr.__in6_u.__u6_addr8 = ip.octets();
                    Self::copy((&raw const address).cast(), size_of::<sockaddr_in6>() as _, name)
                }
            };
            ngx_inet_set_port(copy.as_mut_ptr(), port);
            copy
        }
    }

    /// An address that nginx parsed or resolved at start.
    ///
    /// # Safety
    /// `address` must be one that nginx filled in.
    pub(super) unsafe fn of(address: &ngx_addr_t) -> Self {
        // SAFETY: the caller vouches for the structure.
        unsafe { Self::copy(address.sockaddr, address.socklen, address.name.to_string().into()) }
    }

    /// An address out of an answer of nginx's resolver.
    ///
    /// # Safety
    /// `address` must be of such an answer.
    pub(super) unsafe fn resolved(address: &ngx_resolver_addr_t, name: &Name) -> Self {
        // SAFETY: the caller vouches for the structure; the copy is ours to set the port of.
        unsafe {
            let mut copy = Self::copy(address.sockaddr, address.socklen, Rc::clone(&name.text));
            ngx_inet_set_port(copy.as_mut_ptr(), name.port);
            copy
        }
    }

    /// For system calls that read it.
    pub(super) fn as_ptr(&self) -> *mut sockaddr {
        core::ptr::from_ref(&*self.storage).cast_mut().cast()
    }

    fn as_mut_ptr(&mut self) -> *mut sockaddr {
        core::ptr::from_mut(&mut *self.storage).cast()
    }

    pub(super) fn len(&self) -> socklen_t {
        self.len
    }

    /// The port, of a family that has one.
    pub(super) fn port(&self) -> u16 {
        // SAFETY: the storage holds an address.
        unsafe { nginx_sys::ngx_inet_get_port(self.as_ptr()) }
    }
}

/// The addresses of `host:port` or `unix:/path`, names resolved now if `resolve`; none for a name that
/// was not to be resolved.
pub(super) fn parse(
    cf: *mut ngx_conf_t,
    text: &str,
    resolve: bool,
) -> Result<Vec<SocketAddress>, ConfigError> {
    let out_of_memory = || ConfigError::new("out of memory");
    // SAFETY: the pool is live; all zeroes are where nginx's callers start from.
    unsafe {
        let copy: ngx_str_t =
            pool::copy((*cf).pool, &[text.as_bytes()]).ok_or_else(out_of_memory)?;
        let mut url: ngx_url_t = core::mem::zeroed();
        url.url = copy;
        url.default_port = REDIS_PORT;
        bits::url::NO_RESOLVE.set(&mut url, (!resolve).into());

        if ngx_parse_url((*cf).pool, &mut url) != NGX_OK as ngx_int_t {
            let reason = match url.err.is_null() {
                true => "invalid address".into(),
                false => CStr::from_ptr(url.err).to_string_lossy(),
            };
            return Err(ConfigError::new(format!("{reason} in \"{text}\"")));
        }
        if url.addrs.is_null() {
            return Ok(Vec::new());
        }
        let addresses = core::slice::from_raw_parts(url.addrs, url.naddrs);
        Ok(addresses.iter().map(|address| SocketAddress::of(address)).collect())
    }
}
