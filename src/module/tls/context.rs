//! TLS as a store has it: OpenSSL's context with its certificates, and the sessions to go on with.

use core::cell::{RefCell, UnsafeCell};
use core::ptr;
use std::collections::HashMap;
use std::rc::Rc;

use nginx_sys::{
    ngx_array_t, ngx_conf_t, ngx_int_t, ngx_log_t, ngx_ssl_certificate, ngx_ssl_ciphers,
    ngx_ssl_cleanup_ctx, ngx_ssl_client_session_cache, ngx_ssl_create, ngx_ssl_t,
    ngx_ssl_trusted_certificate, ngx_str_t, ngx_uint_t, ngx_use_stderr, ERR_clear_error,
    NGX_SSL_TLSv1, NGX_SSL_TLSv1_1, NGX_SSL_TLSv1_2, NGX_SSL_TLSv1_3, SSL_CTX_ctrl,
    SSL_CTX_set_default_verify_paths, SSL_CTX_set_verify, SSL_SESSION_free, NGX_OK, SSL_CTRL_MODE,
    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER, SSL_SESSION, SSL_VERIFY_PEER,
};

use super::kept_log::KeptLog;
use super::TlsConf;
use crate::config::ConfigError;
use crate::module::conf::{Place, Setting};
use crate::module::plan::Mistake;
use crate::module::pool;
use crate::store::tls::{message, Protocol, ServerName};

/// Shared by all connections to the servers of a store.
pub(in crate::module) struct Tls {
    ssl: UnsafeCell<ngx_ssl_t>,
    verify: bool,
    /// Whom all servers must prove to be; without it each is what it is called.
    name: Option<ServerName>,
    /// The last session of each server.
    sessions: RefCell<HashMap<Rc<str>, Session>>,
}

/// How many certificates may stand between that of a server and a trusted one: nginx's default.
const VERIFY_DEPTH: u32 = 1;

/// More servers than that are hardly there at once; those of names that change would pile up.
const MAX_SESSIONS: usize = 256;

impl Tls {
    /// As configured; `name` is the one to verify. `place` is that of the store.
    pub(super) fn new(
        cf: *mut ngx_conf_t,
        conf: &TlsConf,
        name: Option<ServerName>,
        place: &Place,
    ) -> Result<Self, Mistake> {
        let protocols = conf.protocols.value().map_or(&Protocol::DEFAULT[..], Vec::as_slice);
        let protocols = protocols.iter().fold(0, |bits, &protocol| bits | bit(protocol));
        let maker = Maker::new(cf);
        // SAFETY: all zeroes are where nginx's own callers start from; the log outlives the calls below.
        let mut ssl: ngx_ssl_t = unsafe { core::mem::zeroed() };
        ssl.log = maker.log.as_ptr();
        // SAFETY: the structure is complete.
        let rc = unsafe { ngx_ssl_create(&mut ssl, protocols as ngx_uint_t, ptr::null_mut()) };
        let verify = conf.verify.value().copied().unwrap_or(true);
        let tls = Self { ssl: UnsafeCell::new(ssl), verify, name, sessions: RefCell::default() };
        maker.check(rc).map_err(|error| Mistake::new("session_redis_store", place, error))?;

        maker.set_ciphers(&tls, &conf.ciphers)?;
        maker.set_certificate(&tls, conf)?;
        maker.set_trust(&tls, conf, place)?;
        // SAFETY: the context is made. A command that waits to be written may move in memory while it grows.
        unsafe {
            ngx_ssl_client_session_cache(cf, tls.as_ptr(), 1);
            let mode = SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER.into();
            SSL_CTX_ctrl((*tls.as_ptr()).ctx, SSL_CTRL_MODE as i32, mode, ptr::null_mut());
            (*tls.as_ptr()).log = &raw mut (*(*cf).cycle).new_log;
        }
        Ok(tls)
    }

    pub(super) fn as_ptr(&self) -> *mut ngx_ssl_t {
        self.ssl.get()
    }

    pub(super) fn verifies(&self) -> bool {
        self.verify
    }

    pub(super) fn name(&self) -> Option<&ServerName> {
        self.name.as_ref()
    }

    /// Keeps a session for the next connection to this server.
    pub(super) fn keep_session(&self, server: &Rc<str>, session: Session) {
        let mut sessions = self.sessions.borrow_mut();
        if sessions.len() >= MAX_SESSIONS && !sessions.contains_key(server) {
            sessions.clear();
        }
        sessions.insert(Rc::clone(server), session);
    }

    pub(super) fn forget_session(&self, server: &str) {
        self.sessions.borrow_mut().remove(server);
    }

    /// Calls back with the session of this server, if there is one.
    pub(super) fn with_session(&self, server: &str, use_it: impl FnOnce(*mut SSL_SESSION)) {
        if let Some(session) = self.sessions.borrow().get(server) {
            use_it(session.0);
        }
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        let ssl = self.ssl.get_mut();
        if !ssl.ctx.is_null() {
            // SAFETY: the context is ours, and counted: connections that are still open keep it. The
            // configuration's pool, where nginx lists the certificates, is freed after what it holds.
            unsafe { ngx_ssl_cleanup_ctx(ptr::from_mut(ssl).cast()) };
        }
    }
}

/// A session of OpenSSL, with a reference of its own.
pub(super) struct Session(*mut SSL_SESSION);

impl Session {
    /// # Safety
    /// `session` must be valid, and one of its references is handed over.
    pub(super) unsafe fn take(session: *mut SSL_SESSION) -> Self {
        Self(session)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: the reference is ours.
        unsafe { SSL_SESSION_free(self.0) };
    }
}

/// Calls nginx's functions and has their complaints with the directive that they are about.
struct Maker {
    cf: *mut ngx_conf_t,
    log: Rc<KeptLog>,
    use_stderr: ngx_uint_t,
}

impl Maker {
    fn new(cf: *mut ngx_conf_t) -> Self {
        // SAFETY: nginx reads configurations on its only thread. What is printed besides would say it twice.
        let use_stderr = unsafe { (&raw mut ngx_use_stderr).replace(0) };
        Self { cf, log: KeptLog::new(ptr::null_mut::<ngx_log_t>()), use_stderr }
    }

    /// What a function of nginx returned, with what it had to say.
    fn check(&self, rc: ngx_int_t) -> Result<(), ConfigError> {
        if rc == NGX_OK as ngx_int_t {
            return Ok(());
        }
        Err(match message(&self.log.take()) {
            "" => ConfigError::new("out of memory"),
            said => ConfigError::new(said),
        })
    }

    /// A copy in the configuration's pool.
    fn copy(&self, text: &str) -> Result<ngx_str_t, ConfigError> {
        // SAFETY: the configuration is live.
        unsafe { pool::copy((*self.cf).pool, &[text.as_bytes()]) }
            .ok_or_else(|| ConfigError::new("out of memory"))
    }

    fn set_ciphers(&self, tls: &Tls, ciphers: &Setting<String>) -> Result<(), Mistake> {
        let Some(ciphers) = ciphers.get() else { return Ok(()) };
        let set = || {
            let mut text = self.copy(ciphers)?;
            // SAFETY: context and text are complete, and the text ends with a NUL.
            self.check(unsafe { ngx_ssl_ciphers(self.cf, tls.as_ptr(), &mut text, 0) })
        };
        set().map_err(|error| Mistake::new("ssl_ciphers", &ciphers.place, error))
    }

    /// What we prove who we are with.
    fn set_certificate(&self, tls: &Tls, conf: &TlsConf) -> Result<(), Mistake> {
        let (Some(certificate), Some(key)) = (conf.certificate.get(), conf.certificate_key.get())
        else {
            return Ok(());
        };
        let set = || {
            let (mut certificate, mut key) = (self.copy(certificate)?, self.copy(key)?);
            // SAFETY: all zeroes are an empty array. Without one OpenSSL would ask for the password of a key
            // at the terminal.
            let mut passwords: ngx_array_t = unsafe { core::mem::zeroed() };
            // SAFETY: context, names and array are complete, and nginx keeps the names only.
            self.check(unsafe {
                ngx_ssl_certificate(
                    self.cf,
                    tls.as_ptr(),
                    &mut certificate,
                    &mut key,
                    &mut passwords,
                )
            })
        };
        set().map_err(|error| match error.to_string().contains(key.as_str()) {
            true => Mistake::new("ssl_certificate_key", &key.place, error),
            false => Mistake::new("ssl_certificate", &certificate.place, error),
        })
    }

    /// Whom we believe.
    fn set_trust(&self, tls: &Tls, conf: &TlsConf, store: &Place) -> Result<(), Mistake> {
        if !tls.verify {
            return Ok(());
        }
        let depth = conf.verify_depth.value().copied().unwrap_or(VERIFY_DEPTH);
        let file = conf.trusted_certificate.get();
        let set = || {
            let mut file = self.copy(file.map_or("", |file| file.as_str()))?;
            // SAFETY: context and name are complete.
            self.check(unsafe {
                ngx_ssl_trusted_certificate(self.cf, tls.as_ptr(), &mut file, depth as ngx_int_t)
            })
        };
        let (directive, place) = file.map_or(("session_redis_store", store), |file| {
            ("ssl_trusted_certificate", &file.place)
        });
        set().map_err(|error| Mistake::new(directive, place, error))?;
        // SAFETY: the context is made. Those of the system that cannot be read are not there, which is no error.
        // nginx would complete the handshake and look then, when the last of several reasons has replaced the first.
        unsafe {
            let context = (*tls.as_ptr()).ctx;
            SSL_CTX_set_verify(context, SSL_VERIFY_PEER as i32, None);
            if file.is_none() {
                SSL_CTX_set_default_verify_paths(context);
                ERR_clear_error();
            }
        }
        Ok(())
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        // SAFETY: as in `new`.
        unsafe { ngx_use_stderr = self.use_stderr };
    }
}

fn bit(protocol: Protocol) -> u32 {
    match protocol {
        Protocol::Tls1 => NGX_SSL_TLSv1,
        Protocol::Tls1_1 => NGX_SSL_TLSv1_1,
        Protocol::Tls1_2 => NGX_SSL_TLSv1_2,
        Protocol::Tls1_3 => NGX_SSL_TLSv1_3,
    }
}
