//! A session store as configured: where it is, who we are there, within which bounds.

use core::cell::{Cell, OnceCell};
use core::sync::atomic::AtomicU64;
use std::rc::Rc;

use foldhash::fast::RandomState;
use nginx_sys::{
    ngx_conf_t, ngx_http_upstream_server_t, ngx_http_upstream_srv_conf_t, ngx_log_t,
    ngx_resolver_t, NGX_HTTP_UPSTREAM_CREATE, NGX_LOG_WARN,
};
use ngx::http::{
    HttpModuleLocationConf, HttpModuleMainConf, NgxHttpCoreModule, NgxHttpUpstreamModule,
};

use super::address::{self, Name, SocketAddress, Target};
use super::client::Client;
use super::conf::{log_at, MainConf, Place};
use super::directives::Directive;
use super::plan::Mistake;
use super::sentinel_block::Sentinels;
use super::tls::{Tls, TlsConf};
use super::{bits, SessionRedis};
use crate::cache;
use crate::config::{unknown, ConfigError};
use crate::format::Pipeline;
use crate::store::cluster::NodeAddress;
use crate::store::dialect::Dialect;
use crate::store::dialogue::Login;
use crate::store::endpoint::{is_url, Address, Endpoint};
use crate::store::oversized::Oversized;
use crate::store::servers::ServerConf;

/// `session_redis_store` or an anonymous store of a url.
pub(super) struct Store {
    pub(super) name: String,
    /// None of a store whose master Sentinels name.
    pub(super) endpoint: Option<Endpoint>,
    pub(super) sentinels: Option<Sentinels>,
    pub(super) username: Option<String>,
    pub(super) password: Option<Vec<u8>>,
    /// Where the password comes from, with its full name.
    pub(super) password_file: Option<String>,
    pub(super) database: Option<u32>,
    /// In place of the endpoint's address.
    pub(super) cluster: Option<ClusterConf>,
    /// How its servers are spoken to, unless in the clear.
    pub(super) tls: Option<Rc<Tls>>,
    pub(super) limits: Limits,
    pub(super) cache: Option<cache::Limits>,
    pub(super) own_resolver: Option<*mut ngx_resolver_t>,
    /// In ms.
    pub(super) own_resolver_timeout: Option<u64>,
    pub(super) place: Place,
    /// Hashes its keys, in all workers alike.
    keys: RandomState,
    resolver: Cell<Option<(*mut ngx_resolver_t, u64)>>,
    servers: OnceCell<Vec<(Target, ServerConf)>>,
    client: OnceCell<&'static Client>,
}

/// A Redis Cluster.
pub(super) struct ClusterConf {
    /// Some of its nodes.
    pub(super) seeds: Vec<NodeAddress>,
    pub(super) read_from_replicas: bool,
}

/// How our connections show in a server's `CLIENT LIST`.
const CLIENT_NAME: &str = "nginx-session-redis";

/// Times in ms.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) connect_timeout: u64,
    pub(super) timeout: u64,
    pub(super) connections: usize,
    pub(super) max_pending: usize,
    pub(super) max_size: usize,
    pub(super) retry: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout: 100,
            timeout: 250,
            connections: 1,
            max_pending: 4096,
            max_size: Pipeline::MAX_SIZE,
            retry: 1,
        }
    }
}

impl Store {
    pub(super) fn new(name: &str, place: Place) -> Self {
        Self {
            name: name.to_owned(),
            endpoint: None,
            sentinels: None,
            username: None,
            database: None,
            password: None,
            password_file: None,
            cluster: None,
            tls: None,
            limits: Limits::default(),
            cache: None,
            own_resolver: None,
            own_resolver_timeout: None,
            place,
            keys: RandomState::default(),
            resolver: Cell::new(None),
            servers: OnceCell::new(),
            client: OnceCell::new(),
        }
    }

    /// The same store at this server.
    pub(super) fn at(mut self, endpoint: Endpoint) -> Self {
        self.username = endpoint.username.clone();
        self.database = endpoint.database;
        self.endpoint = Some(endpoint);
        self
    }

    /// What its servers speak.
    pub(super) fn dialect(&self) -> Dialect {
        self.endpoint.as_ref().map_or(Dialect::Redis, |endpoint| endpoint.dialect)
    }

    /// The store that a url in `session_redis` stands for; equal urls share one.
    pub(super) fn anonymous(d: &Directive, url: &str) -> Result<Rc<Self>, ConfigError> {
        let endpoint = Endpoint::parse(url)?;
        let main = d.main()?;
        let known = main.stores.iter().find(|store| store.name == url);
        if let Some(store) = known {
            return Ok(Rc::clone(store));
        }
        let mut store = Self::new(url, d.place()).at(endpoint);
        store.tls = TlsConf::default()
            .build(d.cf, store.endpoint.as_ref(), &store.place)
            .map_err(Mistake::into_error)?;
        let store = Rc::new(store);
        main.stores.push(Rc::clone(&store));
        Ok(store)
    }

    /// Whether its name is the url that was written in `session_redis`.
    fn is_anonymous(&self) -> bool {
        is_url(&self.name)
    }

    /// The store of this name, or why there is none.
    pub(super) fn named(
        cf: *mut ngx_conf_t,
        main: &MainConf,
        name: &str,
    ) -> Result<Rc<Self>, ConfigError> {
        if let Some(store) = main.stores.iter().find(|store| store.name == name) {
            return Ok(Rc::clone(store));
        }
        if upstream(cf, name).is_some() {
            return Err(ConfigError::new(format!(
                "\"{name}\" is an upstream, not a session store"
            ))
            .hint(format!("write \"session_redis redis://{name}\"")));
        }
        let known: Vec<&str> = main
            .stores
            .iter()
            .filter(|store| !store.is_anonymous())
            .map(|store| store.name.as_str())
            .collect();
        if known.is_empty() {
            return Err(ConfigError::new(format!(
                "unknown session store \"{name}\", none is defined"
            ))
            .hint(format!(
                "write \"session_redis_store {name} {{ … }}\" in http{{}}, or \"session_redis redis://127.0.0.1:6379\""
            )));
        }
        Err(unknown("session store", name, &known))
    }

    /// Finds the store's servers once all of http{} is known.
    pub(super) fn locate(&self, cf: *mut ngx_conf_t) -> Result<(), ConfigError> {
        // The threads of a cluster look up names of nodes, which may change, themselves.
        if self.cluster.is_some() {
            return Ok(());
        }
        let (resolver, timeout) = http_resolver(cf);
        let timeout = self.own_resolver_timeout.unwrap_or(timeout);
        self.resolver.set(self.own_resolver.or(resolver).map(|resolver| (resolver, timeout)));
        if let Some(sentinels) = &self.sentinels {
            return sentinels.locate(|host, port| self.of_host(cf, host, port));
        }
        let Some(endpoint) = &self.endpoint else { return Ok(()) };
        let servers = match &endpoint.address {
            Address::Unix(path) => direct(address::parse(cf, &format!("unix:{path}"), false)?),
            Address::Host { host, port } => match (upstream(cf, host), port) {
                (Some(block), None) => self.of_upstream(cf, host, block)?,
                (Some(_), Some(_)) => {
                    return Err(ConfigError::new(format!(
                        "\"{host}\" is an upstream, whose servers have ports of their own"
                    ))
                    .hint(format!("write \"{}://{host}\"", self.dialect().scheme())))
                }
                (None, port) => {
                    let port = port.unwrap_or(self.dialect().default_port());
                    self.of_host(cf, host, port)?
                }
            },
        };
        let _ = self.servers.set(servers);
        Ok(())
    }

    fn of_host(
        &self,
        cf: *mut ngx_conf_t,
        host: &str,
        port: u16,
    ) -> Result<Vec<(Target, ServerConf)>, ConfigError> {
        let text = match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        // With a resolver only literal addresses are taken now.
        let at_start = self.resolver.get().is_none();
        let addresses = address::parse(cf, &text, at_start)?;
        if addresses.is_empty() {
            return Ok(vec![(Target::Name(Name::new(host, port)), ServerConf::default())]);
        }
        Ok(direct(addresses))
    }

    fn of_upstream(
        &self,
        cf: *mut ngx_conf_t,
        name: &str,
        block: &ngx_http_upstream_srv_conf_t,
    ) -> Result<Vec<(Target, ServerConf)>, ConfigError> {
        // SAFETY: the servers of an upstream block are an array of this structure.
        let lines = unsafe { (*block.servers).as_slice::<ngx_http_upstream_server_t>() };
        let mut servers = Vec::new();
        for line in lines {
            if line.addrs.is_null() {
                return Err(ConfigError::new(format!(
                    "upstream \"{name}\" has a server with \"resolve\""
                ))
                .hint("give the host name in the store's url, with a \"resolver\""));
            }
            // SAFETY: nginx filled in `naddrs` addresses.
            let addresses = unsafe { core::slice::from_raw_parts(line.addrs, line.naddrs) };
            for known in addresses {
                // SAFETY: as above.
                let address = unsafe { SocketAddress::of(known) };
                self.check_port(cf, name, &line.name.to_string(), &address);
                servers.push((Target::Address(address), server_conf(line)));
            }
        }
        Ok(servers)
    }

    /// nginx gives a server line without a port that of HTTP.
    fn check_port(&self, cf: *mut ngx_conf_t, upstream: &str, line: &str, known: &SocketAddress) {
        let has_port = line.starts_with("unix:")
            || line.rsplit_once(':').is_some_and(|(host, port)| {
                !port.ends_with(']') && (!host.contains(':') || host.ends_with(']'))
            });
        let dialect = self.dialect();
        if known.port() == 80 && !has_port {
            log_at(
                NGX_LOG_WARN,
                cf,
                &self.place,
                format_args!(
                    "server \"{line}\" in upstream \"{upstream}\" has no port, nginx gave it 80; \
                     {} listens on {}",
                    dialect.name(),
                    dialect.default_port()
                ),
            );
        }
    }

    pub(super) fn targets(&self) -> Vec<Target> {
        self.located().iter().map(|(target, _)| target.clone()).collect()
    }

    pub(super) fn servers(&self) -> Vec<ServerConf> {
        self.located().iter().map(|(_, conf)| conf.clone()).collect()
    }

    fn located(&self) -> &[(Target, ServerConf)] {
        self.servers.get().map_or(&[], Vec::as_slice)
    }

    /// nginx's resolver for its servers, and the time that it may take, in ms.
    pub(super) fn resolver(&self) -> Option<(*mut ngx_resolver_t, u64)> {
        self.resolver.get()
    }

    pub(super) fn login(&self) -> Login {
        Login {
            username: self.username.clone(),
            password: self.password.clone(),
            database: self.database.unwrap_or(0),
            client_name: Some(CLIENT_NAME.to_owned()),
            // The threads of a cluster listen to no pushes.
            tracking: self.cache.is_some() && self.cluster.is_none(),
            master_only: self.sentinels.is_some(),
        }
    }

    /// Starts the store's client in this worker, with what it shares with others.
    pub(super) fn start(&self, log: *mut ngx_log_t, shared: Option<&'static [AtomicU64]>) {
        let oversized = Oversized::new(self.keys.clone(), shared.unwrap_or_default());
        self.client.get_or_init(|| Client::start(self, oversized, log));
    }

    /// This worker's client.
    pub(super) fn client(&self) -> Option<&'static Client> {
        self.client.get().copied()
    }
}

fn direct(addresses: Vec<SocketAddress>) -> Vec<(Target, ServerConf)> {
    let server = |address| (Target::Address(address), ServerConf::default());
    addresses.into_iter().map(server).collect()
}

fn server_conf(line: &ngx_http_upstream_server_t) -> ServerConf {
    ServerConf {
        weight: u32::try_from(line.weight).unwrap_or(u32::MAX),
        backup: bits::http_upstream_server::BACKUP.is_set(line),
        down: line.down != 0,
        max_fails: u32::try_from(line.max_fails).unwrap_or(u32::MAX),
        fail_timeout: u64::try_from(line.fail_timeout).unwrap_or(0).saturating_mul(1000),
    }
}

/// The `upstream` block of this name.
fn upstream(cf: *mut ngx_conf_t, name: &str) -> Option<&'static ngx_http_upstream_srv_conf_t> {
    // SAFETY: `cf` is live; the blocks live as long as the configuration.
    unsafe {
        let main = NgxHttpUpstreamModule::main_conf(&*cf)?;
        let blocks = main.upstreams.as_slice::<*mut ngx_http_upstream_srv_conf_t>();
        let mut blocks = blocks.iter().filter_map(|block| block.as_ref());
        // Those of `proxy_pass http://host` are implicit, and nobody's block.
        blocks.find(|block| {
            block.flags & NGX_HTTP_UPSTREAM_CREATE as usize != 0
                && !block.servers.is_null()
                && block.host.as_bytes().eq_ignore_ascii_case(name.as_bytes())
        })
    }
}

/// The resolver of http{}, unless it is the dummy without addresses that nginx puts there, and its `resolver_timeout` in
/// ms.
fn http_resolver(cf: *mut ngx_conf_t) -> (Option<*mut ngx_resolver_t>, u64) {
    /// As in nginx, where nothing is written.
    const TIMEOUT: u64 = 30_000;
    // SAFETY: `cf` is live, and so is what it configures.
    unsafe {
        let Some(core) = NgxHttpCoreModule::location_conf(&*cf) else { return (None, TIMEOUT) };
        let resolver = core.resolver.as_ref().filter(|resolver| resolver.connections.nelts > 0);
        let written = core.resolver_timeout != nginx_sys::ngx_msec_t::MAX;
        (
            resolver.map(|resolver| core::ptr::from_ref(resolver).cast_mut()),
            if written { core.resolver_timeout as u64 } else { TIMEOUT },
        )
    }
}

/// Finds the servers of all stores.
pub(super) fn locate_all(cf: *mut ngx_conf_t, main: &MainConf) -> Result<(), Mistake> {
    for store in &main.stores {
        let directive = if store.is_anonymous() { "session_redis" } else { "session_redis_store" };
        store.locate(cf).map_err(|error| Mistake::new(directive, &store.place, error))?;
    }
    Ok(())
}

/// The main configuration that a worker's requests see.
pub(super) fn start_all(
    main: &MainConf,
    log: *mut ngx_log_t,
    shared: Option<&'static [AtomicU64]>,
) {
    for store in &main.stores {
        store.start(log, shared);
    }
}

/// The worker leaves.
///
/// # Safety
/// As for `Client::stop`.
pub(super) unsafe fn stop_all(main: &MainConf) {
    for client in main.stores.iter().filter_map(|store| store.client()) {
        // SAFETY: the caller vouches for it.
        unsafe { client.stop() };
    }
}

const _: fn() = || {
    // The stores stand in the module's main configuration.
    fn has_main_conf<T: HttpModuleMainConf>() {}
    has_main_conf::<SessionRedis>();
};
