//! `session_redis_store name { … }`: the directives inside.

use core::ffi::{c_char, c_void};
use core::ptr;
use std::rc::Rc;

use nginx_sys::{
    ngx_command_t, ngx_conf_parse, ngx_conf_t, ngx_int_t, ngx_parse_size, ngx_resolver_create,
    ngx_str_t, NGX_CONF_1MORE, NGX_CONF_TAKE1, NGX_LOG_EMERG, NGX_OK,
};
use ngx::core::{NGX_CONF_ERROR, NGX_CONF_OK};
use ngx::ngx_conf_log_error;

use super::conf::{MainConf, Place};
use super::directives::{directive, milliseconds, once, Directive};
use super::files;
use super::plan::Mistake;
use super::sentinel_block::{self, SentinelBlock};
use super::store::{ClusterConf, Limits, Store};
use super::tls::TlsConf;
use crate::cache;
use crate::config::{unknown, ConfigError};
use crate::store::cluster::NodeAddress;
use crate::store::dialect::Dialect;
use crate::store::endpoint::{Address, Endpoint};

/// The directives of the block, in the order of the reference.
static mut COMMANDS: [ngx_command_t; 29] = [
    directive!("server", NGX_CONF_TAKE1, 0, set_server),
    directive!("sentinel", NGX_CONF_1MORE, 0, set_sentinel),
    directive!("sentinel_username", NGX_CONF_TAKE1, 0, set_sentinel_username),
    directive!("sentinel_password_file", NGX_CONF_TAKE1, 0, set_sentinel_password_file),
    directive!("sentinel_ssl", NGX_CONF_TAKE1, 0, set_sentinel_ssl),
    directive!("cluster", NGX_CONF_1MORE, 0, set_cluster),
    directive!("read_from", NGX_CONF_TAKE1, 0, set_read_from),
    directive!("username", NGX_CONF_TAKE1, 0, set_username),
    directive!("password", NGX_CONF_TAKE1, 0, set_password),
    directive!("password_file", NGX_CONF_TAKE1, 0, set_password_file),
    directive!("database", NGX_CONF_TAKE1, 0, set_database),
    directive!("ssl", NGX_CONF_TAKE1, 0, |d, block: &mut Block| block.tls.set_on(d)),
    directive!("ssl_trusted_certificate", NGX_CONF_TAKE1, 0, |d, block: &mut Block| {
        block.tls.set_trusted_certificate(d)
    }),
    directive!("ssl_verify", NGX_CONF_TAKE1, 0, |d, block: &mut Block| block.tls.set_verify(d)),
    directive!("ssl_verify_depth", NGX_CONF_TAKE1, 0, |d, block: &mut Block| {
        block.tls.set_verify_depth(d)
    }),
    directive!("ssl_name", NGX_CONF_TAKE1, 0, |d, block: &mut Block| block.tls.set_name(d)),
    directive!("ssl_certificate", NGX_CONF_TAKE1, 0, |d, block: &mut Block| {
        block.tls.set_certificate(d)
    }),
    directive!("ssl_certificate_key", NGX_CONF_TAKE1, 0, |d, block: &mut Block| {
        block.tls.set_certificate_key(d)
    }),
    directive!("ssl_protocols", NGX_CONF_1MORE, 0, |d, block: &mut Block| {
        block.tls.set_protocols(d)
    }),
    directive!("ssl_ciphers", NGX_CONF_TAKE1, 0, |d, block: &mut Block| block.tls.set_ciphers(d)),
    directive!("resolver", NGX_CONF_1MORE, 0, set_resolver),
    directive!("resolver_timeout", NGX_CONF_TAKE1, 0, set_resolver_timeout),
    directive!("connect_timeout", NGX_CONF_TAKE1, 0, set_connect_timeout),
    directive!("timeout", NGX_CONF_TAKE1, 0, set_timeout),
    directive!("connections", NGX_CONF_TAKE1, 0, set_connections),
    directive!("max_pending", NGX_CONF_TAKE1, 0, set_max_pending),
    directive!("max_size", NGX_CONF_TAKE1, 0, set_max_size),
    directive!("retry", NGX_CONF_TAKE1, 0, set_retry),
    directive!("cache", NGX_CONF_1MORE, 0, set_cache),
];

/// The block as far as it was read.
#[derive(Default)]
struct Block {
    server: Option<Endpoint>,
    sentinel: SentinelBlock,
    cluster: Option<Vec<NodeAddress>>,
    read_from_replicas: Option<bool>,
    username: Option<String>,
    password: Option<Vec<u8>>,
    password_file: Option<String>,
    database: Option<u32>,
    tls: TlsConf,
    resolver: Option<*mut nginx_sys::ngx_resolver_t>,
    resolver_timeout: Option<u64>,
    connect_timeout: Option<u64>,
    timeout: Option<u64>,
    connections: Option<usize>,
    max_pending: Option<usize>,
    max_size: Option<usize>,
    retry: Option<u32>,
    cache: Option<cache::Limits>,
}

/// `session_redis_store name { … }`
pub(super) fn parse(d: &mut Directive, main: &mut MainConf) -> Result<(), ConfigError> {
    let name = d.args[0].to_owned();
    if name == "off" || name.contains("://") || name.is_empty() {
        return Err(ConfigError::new(format!("\"{name}\" cannot be the name of a store")));
    }
    if main.stores.iter().any(|store| store.name == name) {
        return Err(ConfigError::new(format!("duplicate store \"{name}\"")));
    }
    let place = d.place();

    let mut block = Block::default();
    // SAFETY: `cf` is live; what the block changes of it is put back.
    let result = unsafe {
        let saved = *d.cf;
        (*d.cf).ctx = ptr::null_mut();
        (*d.cf).handler = Some(set);
        (*d.cf).handler_conf = ptr::from_mut(&mut block).cast();
        let result = ngx_conf_parse(d.cf, ptr::null_mut());
        *d.cf = saved;
        result
    };
    if result != NGX_CONF_OK {
        d.reported = true;
        return Err(ConfigError::new(format!("store \"{name}\" is not usable")));
    }

    match block.into_store(d.cf, &name, &place) {
        Ok(store) => {
            main.stores.push(Rc::new(store));
            Ok(())
        }
        Err(mistake) => {
            // The block is read to its end, but it begins where the mistake is looked for.
            mistake.report(d.cf);
            d.reported = true;
            Err(mistake.into_error())
        }
    }
}

impl Block {
    fn into_store(
        mut self,
        cf: *mut ngx_conf_t,
        name: &str,
        place: &Place,
    ) -> Result<Store, Mistake> {
        let tls = std::mem::take(&mut self.tls);
        let mut store = self
            .into_plain_store(name, place)
            .map_err(|error| Mistake::new("session_redis_store", place, error))?;
        match &mut store.sentinels {
            Some(sentinels) => {
                (store.tls, sentinels.tls) = tls.build_with_sentinels(cf, sentinels.ssl, place)?;
            }
            None => store.tls = tls.build(cf, store.endpoint.as_ref(), place)?,
        }
        check_tls(&store).map_err(|error| Mistake::new("session_redis_store", place, error))?;
        Ok(store)
    }

    fn into_plain_store(mut self, name: &str, place: &Place) -> Result<Store, ConfigError> {
        let mut store = self.place(Store::new(name, place.clone()))?;
        if self.database.is_some() && store.database.is_some() {
            return Err(ConfigError::new("\"database\" stands beside a database in the url"));
        }
        if self.username.is_some() && store.username.is_some() {
            return Err(ConfigError::new("\"username\" stands beside a user in the url"));
        }
        store.dialect().check(
            self.username.as_deref(),
            self.password.is_some(),
            self.database.is_some(),
        )?;
        let defaults = Limits::default();
        store.limits = Limits {
            connect_timeout: self.connect_timeout.unwrap_or(defaults.connect_timeout),
            timeout: self.timeout.unwrap_or(defaults.timeout),
            connections: self.connections.unwrap_or(defaults.connections),
            max_pending: self.max_pending.unwrap_or(defaults.max_pending),
            max_size: self.max_size.unwrap_or(defaults.max_size),
            retry: self.retry.unwrap_or(defaults.retry),
        };
        store.username = self.username.or(store.username);
        store.database = self.database.or(store.database);
        store.password = self.password;
        store.password_file = self.password_file;
        store.own_resolver = self.resolver;
        store.own_resolver_timeout = self.resolver_timeout;
        store.cache = self.cache;
        Ok(store)
    }
}

impl Block {
    /// Puts the store where it is: exactly one of the directives says so.
    fn place(&mut self, mut store: Store) -> Result<Store, ConfigError> {
        store.sentinels = std::mem::take(&mut self.sentinel).finish()?;
        let (server, cluster) = (self.server.take(), self.cluster.take());
        let name = &store.name;
        let mut given = [
            ("server", server.is_some()),
            ("sentinel", store.sentinels.is_some()),
            ("cluster", cluster.is_some()),
        ]
        .into_iter()
        .filter_map(|(directive, is_given)| is_given.then_some(directive));
        match (given.next(), given.next()) {
            (None, _) => {
                return Err(ConfigError::new(format!("store \"{name}\" has no \"server\""))
                    .hint("for instance \"server redis://127.0.0.1:6379;\""))
            }
            (Some(first), Some(second)) => {
                return Err(ConfigError::new(format!(
                    "store \"{name}\" has both \"{first}\" and \"{second}\""
                )))
            }
            (Some(_), None) => {}
        }
        if let Some(seeds) = cluster {
            let (endpoint, cluster) = self.check_cluster(seeds)?;
            store.cluster = Some(cluster);
            return Ok(store.at(endpoint));
        }
        if self.read_from_replicas.is_some() {
            return Err(ConfigError::new("\"read_from\" is for a \"cluster\" only"));
        }
        Ok(match server {
            Some(server) => store.at(server),
            None => store,
        })
    }

    /// What a cluster cannot have.
    fn check_cluster(
        &self,
        seeds: Vec<NodeAddress>,
    ) -> Result<(Endpoint, ClusterConf), ConfigError> {
        if self.database.is_some_and(|database| database != 0) {
            return Err(ConfigError::new("a cluster has only database 0"));
        }
        if self.resolver.is_some() || self.resolver_timeout.is_some() {
            return Err(ConfigError::new("\"resolver\" is of no use to a cluster").hint(
                "the names of its nodes are resolved by the system, whenever one is connected to",
            ));
        }
        let Some(first) = seeds.first() else {
            return Err(ConfigError::new("\"cluster\" names no node"));
        };
        let address = Address::Host { host: first.host.to_string(), port: Some(first.port) };
        let dialect = Dialect::Redis;
        let endpoint = Endpoint { dialect, address, tls: false, username: None, database: None };
        let read_from_replicas = self.read_from_replicas.unwrap_or(false);
        Ok((endpoint, ClusterConf { seeds, read_from_replicas }))
    }
}

/// A cluster is asked in threads, which have none of nginx's TLS.
fn check_tls(store: &Store) -> Result<(), ConfigError> {
    if store.cluster.is_none() || store.tls.is_none() {
        return Ok(());
    }
    Err(ConfigError::new("a cluster cannot be spoken to over TLS")
        .hint("it is asked in threads, which would need a second TLS library beside nginx's; write \"ssl off\""))
}

/// Finds the row of a directive of the block and runs its setter.
unsafe extern "C" fn set(
    cf: *mut ngx_conf_t,
    _command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx calls the handler with the words of a directive; the table is never written.
    let (words, commands) =
        unsafe { ((*(*cf).args).as_slice::<ngx_str_t>(), &*(&raw mut COMMANDS).cast_const()) };
    let name = words.first().map(ngx_str_t::to_string).unwrap_or_default();
    let Some(command) = commands.iter().find(|command| command.name.to_string() == name) else {
        let known: Vec<String> = commands.iter().map(|command| command.name.to_string()).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        ngx_conf_log_error!(NGX_LOG_EMERG, cf, "{}", unknown("directive", &name, &known));
        return NGX_CONF_ERROR;
    };
    let many = command.type_ & NGX_CONF_1MORE as usize != 0;
    if words.len() < 2 || (!many && words.len() != 2) {
        ngx_conf_log_error!(
            NGX_LOG_EMERG,
            cf,
            "invalid number of arguments in \"{name}\" directive"
        );
        return NGX_CONF_ERROR;
    }
    match command.set {
        // SAFETY: as nginx itself would call it, with the structure of the block.
        Some(set) => unsafe { set(cf, ptr::from_ref(command).cast_mut(), conf) },
        None => NGX_CONF_ERROR,
    }
}

pub(super) fn fill<T>(field: &mut Option<T>, value: T) -> Result<(), ConfigError> {
    once(field.replace(value).is_none())
}

fn set_server(d: &mut Directive, block: &mut Block) -> Result<(), ConfigError> {
    fill(&mut block.server, Endpoint::parse(d.args[0])?)
}

fn set_sentinel(d: &mut Directive, block: &mut Block) -> Result<(), ConfigError> {
    sentinel_block::set_sentinel(d, &mut block.sentinel)
}

fn set_sentinel_username(d: &mut Directive, block: &mut Block) -> Result<(), ConfigError> {
    sentinel_block::set_username(d, &mut block.sentinel)
}

fn set_sentinel_password_file(d: &mut Directive, block: &mut Block) -> Result<(), ConfigError> {
    sentinel_block::set_password_file(d, &mut block.sentinel)
}

fn set_sentinel_ssl(d: &mut Directive, block: &mut Block) -> Result<(), ConfigError> {
    sentinel_block::set_ssl(d, &mut block.sentinel)
}

fn set_cluster(d: &mut Directive, block: &mut Block) -> Result<(), ConfigError> {
    let mut seeds: Vec<NodeAddress> = Vec::with_capacity(d.args.len());
    for text in &d.args {
        let seed = NodeAddress::seed(text)?;
        if seeds.contains(&seed) {
            return Err(ConfigError::new(format!("duplicate node \"{seed}\"")));
        }
        seeds.push(seed);
    }
    fill(&mut block.cluster, seeds)
}

fn set_read_from(d: &mut Directive, block: &mut Block) -> Result<(), ConfigError> {
    let replicas = match d.args[0] {
        "master" => false,
        "replica" => true,
        other => {
            return Err(ConfigError::new(format!(
                "\"{other}\" is neither \"master\" nor \"replica\""
            )))
        }
    };
    fill(&mut block.read_from_replicas, replicas)
}

fn set_username(d: &mut Directive, block: &mut Block) -> Result<(), ConfigError> {
    fill(&mut block.username, d.args[0].to_owned())
}

fn set_password(d: &mut Directive, block: &mut Block) -> Result<(), ConfigError> {
    if d.args[0].is_empty() {
        return Err(ConfigError::new("the password is empty"));
    }
    fill_password(block, d.args[0].as_bytes())?;
    d.warn(format_args!("\"password\" shows in \"nginx -T\"; move it to \"password_file\""));
    Ok(())
}

fn set_password_file(d: &mut Directive, block: &mut Block) -> Result<(), ConfigError> {
    let (password, name) = files::read_password(d, d.args[0])?;
    fill_password(block, &password)?;
    fill(&mut block.password_file, name)
}

fn fill_password(block: &mut Block, password: &[u8]) -> Result<(), ConfigError> {
    match block.password.replace(password.to_vec()) {
        None => Ok(()),
        Some(_) => Err(ConfigError::new("the store has a password already")),
    }
}

fn set_database(d: &mut Directive, block: &mut Block) -> Result<(), ConfigError> {
    fill(&mut block.database, number(d, 0, u32::MAX.into())? as u32)
}

fn set_resolver(d: &mut Directive, block: &mut Block) -> Result<(), ConfigError> {
    // SAFETY: the words after the directive's name are resolver's own arguments.
    let resolver = unsafe {
        let words = &raw mut *(*(*d.cf).args).elts.cast::<ngx_str_t>().add(1);
        ngx_resolver_create(d.cf, words, d.args.len())
    };
    if resolver.is_null() {
        return Err(ConfigError::new("the resolver is not usable"));
    }
    fill(&mut block.resolver, resolver)
}

fn set_resolver_timeout(d: &mut Directive, block: &mut Block) -> Result<(), ConfigError> {
    fill(&mut block.resolver_timeout, time(d)?)
}

fn set_connect_timeout(d: &mut Directive, block: &mut Block) -> Result<(), ConfigError> {
    fill(&mut block.connect_timeout, time(d)?)
}

fn set_timeout(d: &mut Directive, block: &mut Block) -> Result<(), ConfigError> {
    fill(&mut block.timeout, time(d)?)
}

fn set_connections(d: &mut Directive, block: &mut Block) -> Result<(), ConfigError> {
    fill(&mut block.connections, number(d, 1, 1024)? as usize)
}

fn set_max_pending(d: &mut Directive, block: &mut Block) -> Result<(), ConfigError> {
    fill(&mut block.max_pending, number(d, 1, 1 << 24)? as usize)
}

fn set_max_size(d: &mut Directive, block: &mut Block) -> Result<(), ConfigError> {
    fill(&mut block.max_size, size(d, 1, "1")?)
}

/// `cache size [valid=time] [negative=time] [stale=time]`
fn set_cache(d: &mut Directive, block: &mut Block) -> Result<(), ConfigError> {
    let size = size(d, 64 << 10, "64k")?;
    let (mut valid, mut negative, mut stale) = (None, None, None);
    for option in &d.args[1..] {
        let known = option.split_once('=').and_then(|(name, text)| match name {
            "valid" => Some((&mut valid, text)),
            "negative" => Some((&mut negative, text)),
            "stale" => Some((&mut stale, text)),
            _ => None,
        });
        let Some((place, text)) = known else {
            return Err(unknown("parameter", option, &["valid=", "negative=", "stale="]));
        };
        fill(place, milliseconds(text)?)?;
    }
    fill(&mut block.cache, cache::Limits { size, valid, negative, stale: stale.unwrap_or(0) })
}

fn set_retry(d: &mut Directive, block: &mut Block) -> Result<(), ConfigError> {
    fill(&mut block.retry, number(d, 0, 16)? as u32)
}

/// A size of at least `min` bytes, which is written `least`.
fn size(d: &Directive, min: usize, least: &str) -> Result<usize, ConfigError> {
    let text = d.args[0];
    let mut word = ngx_str_t { len: text.len(), data: text.as_ptr().cast_mut() };
    // SAFETY: ngx_parse_size only reads the string.
    let size = unsafe { ngx_parse_size(&mut word) };
    match usize::try_from(size) {
        Ok(size) if (min..=512 << 20).contains(&size) => Ok(size),
        _ => Err(ConfigError::new(format!("\"{text}\" is not a size from {least} to 512m"))
            .hint("sizes are written 65536, 64k, 1m")),
    }
}

fn time(d: &Directive) -> Result<u64, ConfigError> {
    match milliseconds(d.args[0])? {
        0 => Err(ConfigError::new("the time must be above 0")),
        time => Ok(time),
    }
}

pub(super) fn number(d: &Directive, min: u64, max: u64) -> Result<u64, ConfigError> {
    match d.args[0].parse::<u64>() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ => {
            Err(ConfigError::new(format!("\"{}\" is not a number from {min} to {max}", d.args[0])))
        }
    }
}

const _: () = assert!(NGX_OK as ngx_int_t == 0);
