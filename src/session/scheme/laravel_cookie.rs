//! Laravel's encrypted cookies: an envelope, in it the mark of the cookie's name and the id.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use super::{Carried, Open};
use crate::config::ConfigError;
use crate::session::envelope::Encrypter;
use crate::session::id::Invalid;
use crate::session::secrets::Secrets;

/// `Illuminate\Cookie\Middleware\EncryptCookies`.
#[derive(Debug)]
pub(super) struct LaravelCookie(Option<Encrypter>);

impl LaravelCookie {
    /// `cipher`: its name and the length of its keys in bytes, where it is known.
    pub(super) fn new(
        cipher: Option<(&'static str, usize)>,
        secrets: Option<&Secrets>,
    ) -> Result<Self, ConfigError> {
        let Some(secrets) = secrets else { return Ok(Self(None)) };
        let encrypter = Encrypter::new(secrets)?;
        if let Some((cipher, length)) = cipher {
            let mut keys = secrets.iter().zip(secrets.places());
            if let Some((_, place)) = keys.find(|(key, _)| key.len() != length) {
                return Err(ConfigError::new(format!(
                    "{place}: APP_KEY must be {length} bytes for cipher {cipher}"
                )));
            }
        }
        Ok(Self(Some(encrypter)))
    }
}

impl Open for LaravelCookie {
    fn open<'v>(&self, value: &'v [u8], carried: &Carried<'_>) -> Result<Cow<'v, [u8]>, Invalid> {
        let encrypter = self.0.as_ref().ok_or(Invalid::Signature)?;
        encrypter.open_cookie(carried.name, value).map(Cow::Owned).ok_or(Invalid::Signature)
    }
}
