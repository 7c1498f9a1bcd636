//! TLS where nginx was built without: there is none of these, as `nginx -t` says.

use core::convert::Infallible;
use std::rc::Rc;

use nginx_sys::{ngx_conf_t, ngx_connection_t, ngx_log_t};

use super::{without_ssl, TlsConf};
use crate::module::conf::Place;
use crate::module::plan::Mistake;
use crate::store::error::Failure;
use crate::store::tls::ServerName;

pub(in crate::module) struct Tls(Infallible);

impl Tls {
    pub(super) fn new(
        _cf: *mut ngx_conf_t,
        _conf: &TlsConf,
        _name: Option<ServerName>,
        place: &Place,
    ) -> Result<Self, Mistake> {
        Err(Mistake::new("session_redis_store", place, without_ssl()))
    }
}

pub(in crate::module) struct TlsLink(Infallible);

impl TlsLink {
    pub(in crate::module) fn new(tls: &Rc<Tls>, _: &Rc<str>, _: *mut ngx_log_t) -> Rc<Self> {
        match tls.0 {}
    }

    pub(in crate::module) fn log(&self) -> *mut ngx_log_t {
        match self.0 {}
    }

    pub(in crate::module) unsafe fn begin(&self, _: *mut ngx_connection_t) -> Result<(), Failure> {
        match self.0 {}
    }

    pub(in crate::module) unsafe fn shake_hands(
        &self,
        _: *mut ngx_connection_t,
    ) -> Result<bool, Failure> {
        match self.0 {}
    }

    pub(in crate::module) fn broke(&self, _: bool) -> Option<Failure> {
        match self.0 {}
    }

    pub(in crate::module) unsafe fn end(&self, _: *mut ngx_connection_t) {
        match self.0 {}
    }
}
