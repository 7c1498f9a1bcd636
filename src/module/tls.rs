//! TLS to the servers of a store, by the OpenSSL that nginx itself is linked with: what the configuration says of it,
//! [`Tls`], which is made of that, and [`TlsLink`], one connection's part of it.

#[cfg(not(ngx_feature = "ssl"))]
mod absent;
#[cfg(ngx_feature = "ssl")]
mod context;
#[cfg(ngx_feature = "ssl")]
mod kept_log;
#[cfg(ngx_feature = "ssl")]
mod link;

use std::rc::Rc;

use nginx_sys::{ngx_conf_t, NGX_LOG_WARN};

use super::conf::{log_at, Place, Setting};
use super::directives::{once, Directive};
use super::files;
use super::plan::Mistake;
use super::store_block::number;
use crate::config::ConfigError;
use crate::store::endpoint::{Address, Endpoint};
use crate::store::tls::{Protocol, ServerName};

#[cfg(not(ngx_feature = "ssl"))]
pub(super) use absent::{Tls, TlsLink};
#[cfg(ngx_feature = "ssl")]
pub(super) use context::Tls;
#[cfg(ngx_feature = "ssl")]
pub(super) use link::TlsLink;

/// TLS to some servers; none where it is off.
pub(super) type Shared = Option<Rc<Tls>>;

/// The `ssl` directives of a store's block, named and meant as nginx's `proxy_ssl_…`.
#[derive(Default)]
pub(super) struct TlsConf {
    on: Setting<bool>,
    /// Files with their full names.
    trusted_certificate: Setting<String>,
    verify: Setting<bool>,
    verify_depth: Setting<u32>,
    name: Setting<ServerName>,
    certificate: Setting<String>,
    certificate_key: Setting<String>,
    protocols: Setting<Vec<Protocol>>,
    ciphers: Setting<String>,
}

impl TlsConf {
    /// `ssl on | off`
    pub(super) fn set_on(&mut self, d: &mut Directive) -> Result<(), ConfigError> {
        fill(&mut self.on, d, d.flag()?)
    }

    /// `ssl_trusted_certificate file`
    pub(super) fn set_trusted_certificate(&mut self, d: &mut Directive) -> Result<(), ConfigError> {
        fill(&mut self.trusted_certificate, d, files::readable(d, d.args[0])?)
    }

    /// `ssl_verify on | off`
    pub(super) fn set_verify(&mut self, d: &mut Directive) -> Result<(), ConfigError> {
        fill(&mut self.verify, d, d.flag()?)
    }

    /// `ssl_verify_depth number`
    pub(super) fn set_verify_depth(&mut self, d: &mut Directive) -> Result<(), ConfigError> {
        fill(&mut self.verify_depth, d, number(d, 0, 100)? as u32)
    }

    /// `ssl_name name`
    pub(super) fn set_name(&mut self, d: &mut Directive) -> Result<(), ConfigError> {
        let name = ServerName::new(d.args[0]).ok_or_else(|| ConfigError::new("the name is empty"));
        fill(&mut self.name, d, name?)
    }

    /// `ssl_certificate file`
    pub(super) fn set_certificate(&mut self, d: &mut Directive) -> Result<(), ConfigError> {
        fill(&mut self.certificate, d, files::readable(d, d.args[0])?)
    }

    /// `ssl_certificate_key file`
    pub(super) fn set_certificate_key(&mut self, d: &mut Directive) -> Result<(), ConfigError> {
        let (_, path) = files::read_secret(d, d.args[0])?;
        fill(&mut self.certificate_key, d, path)
    }

    /// `ssl_protocols [TLSv1] [TLSv1.1] [TLSv1.2] [TLSv1.3]`
    pub(super) fn set_protocols(&mut self, d: &mut Directive) -> Result<(), ConfigError> {
        let protocols = d.args.iter().map(|name| Protocol::parse(name));
        fill(&mut self.protocols, d, protocols.collect::<Result<_, _>>()?)
    }

    /// `ssl_ciphers ciphers`
    pub(super) fn set_ciphers(&mut self, d: &mut Directive) -> Result<(), ConfigError> {
        fill(&mut self.ciphers, d, d.args[0].to_owned())
    }

    /// TLS to the servers of a store as it is configured; none where it is off. `place` is that of the store.
    pub(super) fn build(
        &self,
        cf: *mut ngx_conf_t,
        endpoint: Option<&Endpoint>,
        place: &Place,
    ) -> Result<Option<Rc<Tls>>, Mistake> {
        if !self.is_on(cf, endpoint)? {
            return Ok(None);
        }
        let host = match endpoint.map(|endpoint| &endpoint.address) {
            Some(Address::Host { host, .. }) => ServerName::new(host),
            Some(Address::Unix(_)) | None => None,
        };
        self.make(cf, host, place).map(Some)
    }

    /// TLS to servers that must be of this name unless there is an `ssl_name`; without either each must be what
    /// it is called.
    pub(super) fn make(
        &self,
        cf: *mut ngx_conf_t,
        name: Option<ServerName>,
        place: &Place,
    ) -> Result<Rc<Tls>, Mistake> {
        self.check_pair()?;
        let name = self.name.value().cloned().or(name);
        Tls::new(cf, self, name, place).map(Rc::new)
    }

    /// TLS to the servers of a store that Sentinels name, and to the Sentinels if it is `for_sentinels`: each must
    /// prove to be what it is called, unless `ssl_name` says whom all are.
    pub(super) fn build_with_sentinels(
        &self,
        cf: *mut ngx_conf_t,
        for_sentinels: bool,
        place: &Place,
    ) -> Result<(Shared, Shared), Mistake> {
        if !for_sentinels {
            return Ok((self.build(cf, None, place)?, None));
        }
        let tls = self.make(cf, None, place)?;
        let is_on = self.on.value().copied().unwrap_or(false);
        Ok((is_on.then(|| Rc::clone(&tls)), Some(tls)))
    }

    /// Whether the store is spoken to over TLS, if what is written of it agrees.
    fn is_on(&self, cf: *mut ngx_conf_t, endpoint: Option<&Endpoint>) -> Result<bool, Mistake> {
        let said = self.on.value().copied();
        let by_url = endpoint.is_some_and(|endpoint| endpoint.tls);
        let address = endpoint.map(|endpoint| &endpoint.address);
        let error = match (said, by_url, address) {
            (Some(false), true, _) => ConfigError::new("contradicts \"rediss://\"")
                .hint("write \"redis://\" for a store without TLS"),
            (Some(true), _, Some(Address::Unix(_))) => {
                ConfigError::new("a Unix socket is spoken to without TLS")
            }
            (Some(true), ..) if !endpoint.is_none_or(|endpoint| endpoint.dialect.has_tls()) => {
                ConfigError::new("memcached is spoken to without TLS")
            }
            (Some(true), ..) | (None, true, _) => return Ok(true),
            _ => return self.warn_unused(cf, said.is_some()).map(|()| false),
        };
        let place = self.on.get().map_or_else(Place::unknown, |on| on.place.clone());
        Err(Mistake::new("ssl", &place, error))
    }

    /// Without TLS the other directives mean nothing. Where that was not said in so many words, whoever wrote them
    /// believes that TLS is on.
    fn warn_unused(&self, cf: *mut ngx_conf_t, is_said: bool) -> Result<(), Mistake> {
        match self.first_written() {
            None => Ok(()),
            Some((directive, place)) if is_said => {
                let message = format_args!("\"{directive}\" has no effect with \"ssl off\"");
                log_at(NGX_LOG_WARN, cf, place, message);
                Ok(())
            }
            Some((directive, place)) => {
                let error = ConfigError::new("the store is spoken to without TLS")
                    .hint("write \"rediss://\" in its url, or \"ssl on\"");
                Err(Mistake::new(directive, place, error))
            }
        }
    }

    /// One of the directives that have no effect without TLS.
    fn first_written(&self) -> Option<(&'static str, &Place)> {
        macro_rules! first {
            ($($field:ident $name:literal),+ $(,)?) => {
                None$(.or(self.$field.get().map(|said| ($name, &said.place))))+
            };
        }
        first!(
            trusted_certificate "ssl_trusted_certificate",
            verify "ssl_verify",
            verify_depth "ssl_verify_depth",
            name "ssl_name",
            certificate "ssl_certificate",
            certificate_key "ssl_certificate_key",
            protocols "ssl_protocols",
            ciphers "ssl_ciphers",
        )
    }

    /// A certificate is of no use without its key, nor the other way round.
    fn check_pair(&self) -> Result<(), Mistake> {
        let (directive, place, error) = match (self.certificate.get(), self.certificate_key.get()) {
            (Some(certificate), None) => (
                "ssl_certificate",
                &certificate.place,
                "no \"ssl_certificate_key\" is defined for it",
            ),
            (None, Some(key)) => {
                ("ssl_certificate_key", &key.place, "no \"ssl_certificate\" is defined for it")
            }
            _ => return Ok(()),
        };
        Err(Mistake::new(directive, place, ConfigError::new(error)))
    }
}

fn fill<T>(setting: &mut Setting<T>, d: &Directive, value: T) -> Result<(), ConfigError> {
    must_have_ssl()?;
    once(setting.set(value, d.place()))
}

/// Refused where nginx was built without.
pub(super) fn must_have_ssl() -> Result<(), ConfigError> {
    match cfg!(ngx_feature = "ssl") {
        true => Ok(()),
        false => Err(without_ssl()),
    }
}

fn without_ssl() -> ConfigError {
    ConfigError::new("this nginx is built without SSL")
        .hint("configure it with \"--with-http_ssl_module\" and build the module again")
}
