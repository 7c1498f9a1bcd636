//! The directives of a store whose master Sentinels name: `sentinel` and what goes with it.

use core::cell::OnceCell;
use std::rc::Rc;

use super::address::Target;
use super::directives::Directive;
use super::files;
use super::store_block::fill;
use super::tls::{must_have_ssl, Tls};
use crate::config::ConfigError;
use crate::store::dialogue::Login;
use crate::store::endpoint::Address;
use crate::store::sentinel::belief::Place;
use crate::store::sentinel::{SentinelConf, DEFAULT_PORT};
use crate::store::servers::ServerConf;

/// The Sentinels of a store as configured.
pub(super) struct Sentinels {
    pub(super) conf: SentinelConf,
    /// Who we are there.
    pub(super) login: Login,
    pub(super) password_file: Option<String>,
    /// They are spoken to over TLS, which is then made of the store's `ssl_…` directives.
    pub(super) ssl: bool,
    pub(super) tls: Option<Rc<Tls>>,
    targets: OnceCell<Vec<(Target, Place)>>,
}

/// The directives as far as they were read.
#[derive(Default)]
pub(super) struct SentinelBlock {
    conf: Option<SentinelConf>,
    username: Option<String>,
    password: Option<Vec<u8>>,
    password_file: Option<String>,
    ssl: Option<bool>,
}

impl SentinelBlock {
    /// The Sentinels, if the store has any.
    pub(super) fn finish(self) -> Result<Option<Sentinels>, ConfigError> {
        let Some(conf) = self.conf else {
            let alone = [
                ("sentinel_username", self.username.is_some()),
                ("sentinel_password_file", self.password_file.is_some()),
                ("sentinel_ssl", self.ssl.is_some()),
            ];
            return match alone.iter().find(|(_, is_set)| *is_set) {
                Some((name, _)) => Err(ConfigError::new(format!(
                    "\"{name}\" stands in a store without \"sentinel\""
                ))),
                None => Ok(None),
            };
        };
        let login = Login { username: self.username, password: self.password, ..Login::default() };
        Ok(Some(Sentinels {
            conf,
            login,
            password_file: self.password_file,
            ssl: self.ssl.unwrap_or(false),
            tls: None,
            targets: OnceCell::new(),
        }))
    }
}

impl Sentinels {
    /// Finds where they listen. Each address that a name has at start is asked.
    pub(super) fn locate(
        &self,
        find: impl Fn(&str, u16) -> Result<Vec<(Target, ServerConf)>, ConfigError>,
    ) -> Result<(), ConfigError> {
        let mut targets: Vec<(Target, Place)> = Vec::new();
        for (name, sentinel) in self.conf.sentinels.iter().enumerate() {
            let Address::Host { host, port } = sentinel else { continue };
            let found = find(host, port.unwrap_or(DEFAULT_PORT))?;
            for (target, _) in found {
                // Two names for one place are one Sentinel.
                if targets.iter().all(|(known, _)| known.name() != target.name()) {
                    let is_v6 = target.name().starts_with('[');
                    targets.push((target, Place { name, is_v6 }));
                }
            }
        }
        let _ = self.targets.set(targets);
        Ok(())
    }

    pub(super) fn targets(&self) -> &[(Target, Place)] {
        self.targets.get().map_or(&[], Vec::as_slice)
    }
}

/// `sentinel master host[:port] …`
pub(super) fn set_sentinel(d: &Directive, block: &mut SentinelBlock) -> Result<(), ConfigError> {
    fill(&mut block.conf, SentinelConf::parse(&d.args)?)
}

/// `sentinel_username name`
pub(super) fn set_username(d: &Directive, block: &mut SentinelBlock) -> Result<(), ConfigError> {
    fill(&mut block.username, d.args[0].to_owned())
}

/// `sentinel_password_file path`
pub(super) fn set_password_file(
    d: &Directive,
    block: &mut SentinelBlock,
) -> Result<(), ConfigError> {
    let (password, name) = files::read_password(d, d.args[0])?;
    fill(&mut block.password_file, name)?;
    block.password = Some(password);
    Ok(())
}

/// `sentinel_ssl on|off`
pub(super) fn set_ssl(d: &Directive, block: &mut SentinelBlock) -> Result<(), ConfigError> {
    let ssl = d.flag()?;
    must_have_ssl()?;
    fill(&mut block.ssl, ssl)
}
