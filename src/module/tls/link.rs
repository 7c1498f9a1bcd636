//! One connection's TLS, from the handshake to its end.

use core::ffi::CStr;
use core::ptr::{self, NonNull};
use std::rc::Rc;

use nginx_sys::{
    ngx_connection_t, ngx_create_pool, ngx_destroy_pool, ngx_int_t, ngx_log_t,
    ngx_ssl_create_connection, ngx_ssl_get_session, ngx_ssl_handshake, ngx_ssl_set_session,
    ngx_ssl_shutdown, ngx_tcp_nodelay, SSL_SESSION_get0_peer, SSL_ctrl, SSL_get_session,
    SSL_get_verify_result, TLSEXT_NAMETYPE_host_name, X509_check_host, X509_check_ip_asc,
    X509_verify_cert_error_string, NGX_AGAIN, NGX_OK, NGX_SSL_CLIENT, SSL,
    SSL_CTRL_SET_TLSEXT_HOSTNAME, X509, X509_V_OK,
};

use super::context::{Session, Tls};
use super::kept_log::KeptLog;
use crate::module::bits;
use crate::store::error::Failure;
use crate::store::tls::{reason, ServerName, TlsFailure};

/// Bytes of a connection's pool: it holds nginx's structure of a TLS connection.
const POOL: usize = 512;

/// Kept as long as the connection is open, which logs to it.
pub(in crate::module) struct TlsLink {
    tls: Rc<Tls>,
    server: Rc<str>,
    /// Whom the server must prove to be.
    name: Option<ServerName>,
    log: Rc<KeptLog>,
}

impl TlsLink {
    /// For a connection to `server`, which is how the log calls it. What nginx has to say besides goes to `log`.
    pub(in crate::module) fn new(tls: &Rc<Tls>, server: &Rc<str>, log: *mut ngx_log_t) -> Rc<Self> {
        let name = tls.name().cloned().or_else(|| ServerName::of_server(server));
        let link = Rc::new(Self {
            tls: Rc::clone(tls),
            server: Rc::clone(server),
            name,
            log: KeptLog::new(log),
        });
        link.log.set_data(Rc::as_ptr(&link).cast_mut().cast());
        link
    }

    /// The log that the connection must be opened with.
    pub(in crate::module) fn log(&self) -> *mut ngx_log_t {
        self.log.as_ptr()
    }

    /// Prepares a handshake.
    ///
    /// # Safety
    /// `c` must be a connection that is open and connected, with [`Self::log`] for its log.
    pub(in crate::module) unsafe fn begin(&self, c: *mut ngx_connection_t) -> Result<(), Failure> {
        // SAFETY: the caller vouches for the connection; the pool goes with it, in `end`.
        let created = unsafe {
            (*c).pool = ngx_create_pool(POOL, self.log());
            !(*c).pool.is_null()
                && ngx_ssl_create_connection(self.tls.as_ptr(), c, NGX_SSL_CLIENT as usize)
                    == NGX_OK as ngx_int_t
        };
        if !created {
            let line = self.log.take();
            let reason = reason(&line).unwrap_or("out of memory").into();
            return Err(Failure::Tls(TlsFailure::Handshake(reason)));
        }
        // SAFETY: the connection has its part of OpenSSL now.
        unsafe {
            if let Some(name) = self.name.as_ref().and_then(ServerName::sni) {
                let (command, kind) = (SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name);
                let name = name.as_ptr().cast_mut().cast();
                SSL_ctrl((*(*c).ssl).connection, command as i32, kind.into(), name);
            }
            self.tls.with_session(&self.server, |session| {
                // Without it the handshake is a full one.
                ngx_ssl_set_session(c, session);
            });
            (*(*c).ssl).save_session = Some(save_session);
            // The last message of an abbreviated handshake would wait for an acknowledgement.
            ngx_tcp_nodelay(c);
        }
        Ok(())
    }

    /// Goes on with the handshake. True when it is over and the server is who it must be; until then nginx has put
    /// handlers of its own into the connection.
    ///
    /// # Safety
    /// As for `begin`, which must have succeeded.
    pub(in crate::module) unsafe fn shake_hands(
        &self,
        c: *mut ngx_connection_t,
    ) -> Result<bool, Failure> {
        // SAFETY: the caller vouches for the connection.
        let rc = unsafe { ngx_ssl_handshake(c) };
        let result = if rc == NGX_AGAIN as ngx_int_t {
            Ok(false)
        } else {
            // SAFETY: as above; OpenSSL's part of the connection, with the certificate, is freed in `end` only.
            unsafe {
                match self.trust((*(*c).ssl).connection) {
                    Err(failure) => Err(failure),
                    Ok(_) if rc != NGX_OK as ngx_int_t => Err(self.failed()),
                    Ok(certificate) => self.identify(certificate).map(|()| true),
                }
            }
        };
        if result.is_err() {
            self.tls.forget_session(&self.server);
        }
        result.map_err(Failure::Tls)
    }

    /// The server's certificate, if it has shown one, unless that is not to be trusted.
    ///
    /// # Safety
    /// `ssl` must be that of an open connection.
    unsafe fn trust(&self, ssl: *const SSL) -> Result<Option<NonNull<X509>>, TlsFailure> {
        // SAFETY: the caller vouches for the connection.
        let (code, session) = unsafe { (SSL_get_verify_result(ssl), SSL_get_session(ssl)) };
        if self.tls.verifies() && code != i64::from(X509_V_OK) {
            // SAFETY: OpenSSL's words are constants.
            let words = unsafe { CStr::from_ptr(X509_verify_cert_error_string(code)) };
            return Err(TlsFailure::Untrusted { code, reason: words.to_string_lossy().into() });
        }
        if session.is_null() {
            return Ok(None);
        }
        // SAFETY: the session is that of the connection, as is its certificate.
        Ok(NonNull::new(unsafe { SSL_SESSION_get0_peer(session) }))
    }

    /// Whether a certificate that is trusted is one of whom it must be.
    ///
    /// # Safety
    /// The certificate must be valid.
    unsafe fn identify(&self, certificate: Option<NonNull<X509>>) -> Result<(), TlsFailure> {
        if !self.tls.verifies() {
            return Ok(());
        }
        let certificate = certificate.ok_or(TlsFailure::NoCertificate)?;
        match &self.name {
            // SAFETY: the caller vouches for it.
            Some(name) if unsafe { is_of(certificate.as_ptr(), name) } => Ok(()),
            Some(name) => Err(TlsFailure::NotNamed(name.to_string().into())),
            None => Err(TlsFailure::NotNamed(Box::from(&*self.server))),
        }
    }

    /// Why the handshake failed.
    fn failed(&self) -> TlsFailure {
        match reason(&self.log.take()) {
            Some(reason) => TlsFailure::Handshake(reason.into()),
            None => TlsFailure::Closed,
        }
    }

    /// Why reading or writing failed, if it was TLS that did; `served`: on a connection that had served before.
    pub(in crate::module) fn broke(&self, served: bool) -> Option<Failure> {
        let line = self.log.take();
        let reason: Box<str> = reason(&line)?.into();
        Some(Failure::Tls(match served {
            true => TlsFailure::Broken(reason),
            false => TlsFailure::Handshake(reason),
        }))
    }

    /// Ends TLS on a connection that is to be closed now: says so to the server, and waits for nothing.
    ///
    /// # Safety
    /// `c` must be open, with [`Self::log`] for its log, wherever its handshake is.
    pub(in crate::module) unsafe fn end(&self, c: *mut ngx_connection_t) {
        // SAFETY: the caller vouches for the connection, whose pool is ours.
        unsafe {
            if let Some(ssl) = (*c).ssl.as_mut() {
                bits::ssl_connection::NO_WAIT_SHUTDOWN.set(ssl, 1);
                if ngx_ssl_shutdown(c) == NGX_AGAIN as ngx_int_t {
                    // The system takes no byte more: then without a word.
                    bits::connection::TIMEDOUT.set(&mut *c, 1);
                    ngx_ssl_shutdown(c);
                }
            }
            let pool = core::mem::replace(&mut (*c).pool, ptr::null_mut());
            if !pool.is_null() {
                ngx_destroy_pool(pool);
            }
        }
    }
}

/// Whether a certificate is one of this name.
///
/// # Safety
/// `certificate` must be valid.
unsafe fn is_of(certificate: *mut X509, name: &ServerName) -> bool {
    // SAFETY: the caller vouches for the certificate; the names end with a NUL, and are only read.
    let found = unsafe {
        match name {
            ServerName::Host(name) => {
                let len = name.as_bytes().len();
                X509_check_host(certificate, name.as_ptr(), len, 0, ptr::null_mut())
            }
            ServerName::Address(address) => X509_check_ip_asc(certificate, address.as_ptr(), 0),
        }
    };
    // Negative: an error.
    found == 1
}

/// OpenSSL has a session to go on with: at the end of the handshake, or later where it is TLS 1.3.
unsafe extern "C" fn save_session(c: *mut ngx_connection_t) {
    // SAFETY: the connection's log is that of its `TlsLink`, which is kept as long as it is open.
    let link = unsafe { &*(*(*c).log).data.cast::<TlsLink>() };
    // SAFETY: nginx hands over a reference of our own.
    let session = unsafe { ngx_ssl_get_session(c) };
    if !session.is_null() {
        // SAFETY: as above.
        link.tls.keep_session(&link.server, unsafe { Session::take(session) });
    }
}
