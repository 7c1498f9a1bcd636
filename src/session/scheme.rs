//! How frameworks keep the id in a cookie: as it is, signed so that nobody makes one up, or encrypted.
//!
//! To add a scheme: a file in `scheme/`, a variant of [`Scheme`] and its line in [`Scheme::opener`].

#![forbid(unsafe_code)]

mod base64_uuid;
mod beaker_cookie;
mod cookie_signature;
mod data_protection;
mod flask_signer;
mod keygrip;
mod laravel_cookie;
mod rails_encrypted;
mod secure_cookie;
mod signed;

use std::borrow::Cow;
use std::fmt;

use self::base64_uuid::Base64Uuid;
use self::beaker_cookie::BeakerCookie;
use self::cookie_signature::CookieSignature;
use self::data_protection::DataProtection;
use self::flask_signer::FlaskSigner;
use self::keygrip::Keygrip;
use self::laravel_cookie::LaravelCookie;
use self::rails_encrypted::RailsEncrypted;
use self::secure_cookie::SecureCookie;
use super::envelope::Cipher;
use super::id::Invalid;
use super::secrets::Secrets;
use crate::config::ConfigError;

/// A framework's way of keeping an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scheme {
    /// The value is the id.
    Plain,
    /// `cookie-signature` of node.
    CookieSignature {
        /// What stands before the id: express-session writes `s:`.
        prefix: &'static str,
    },
    /// A UUID in base64, as Spring Session writes it.
    Base64Uuid,
    /// Rails' encrypted cookies.
    RailsEncrypted,
    /// `gorilla/securecookie` of Go.
    SecureCookie {
        /// How old a cookie may be, in seconds; 0: as old as it is.
        max_age: u64,
        /// Whether it is encrypted, too.
        encrypted: bool,
    },
    /// ASP.NET Core's data protection.
    DataProtection {
        /// The name of the application; empty: it has none.
        application: String,
    },
    /// `keygrip` of node: a second cookie signs the first.
    Keygrip {
        /// What stands before the id: koa-session writes whole keys.
        prefix: String,
    },
    /// `itsdangerous.Signer` as Flask-Session uses it.
    FlaskSigner,
    /// Beaker's `SignedCookie`; where there are no secrets, the id itself.
    BeakerCookie,
    /// Laravel's `EncryptCookies`.
    LaravelCookie {
        /// The cipher, where it is configured.
        cipher: Option<Cipher>,
    },
}

/// What goes with a value.
#[derive(Debug, Clone, Copy)]
pub struct Carried<'a> {
    /// The name of the cookie; empty where the value comes from elsewhere.
    pub name: &'a str,
    /// The value of the cookie called as [`Scheme::beside`] says.
    pub beside: Option<&'a [u8]>,
    /// Unix time, in seconds.
    pub now: u64,
}

/// A scheme with its keys.
pub(super) trait Open: fmt::Debug {
    /// The id in `value`, if it is one that the framework made and that has not ended.
    fn open<'v>(&self, value: &'v [u8], carried: &Carried<'_>) -> Result<Cow<'v, [u8]>, Invalid>;
}

impl Scheme {
    /// Whether nothing can be taken without a secret.
    pub fn needs_secret(&self) -> bool {
        !matches!(self, Self::Plain | Self::BeakerCookie | Self::Base64Uuid)
    }

    /// The cipher that is configured for Laravel.
    pub fn cipher(&self) -> Option<Cipher> {
        match self {
            Self::LaravelCookie { cipher } => *cipher,
            _ => None,
        }
    }

    /// The cookie that is set beside the one called `name`, to sign it.
    pub fn beside(&self, name: &str) -> Option<String> {
        matches!(self, Self::Keygrip { .. }).then(|| format!("{name}{}", keygrip::SUFFIX))
    }

    /// The scheme with the keys that it makes of the secrets. Without any it takes no value that needs one.
    pub(super) fn opener(&self, secrets: Option<&Secrets>) -> Result<Box<dyn Open>, ConfigError> {
        Ok(match self {
            Self::Plain => Box::new(Plain),
            Self::CookieSignature { prefix } => Box::new(CookieSignature::new(prefix, secrets)),
            Self::Base64Uuid => Box::new(Base64Uuid),
            Self::RailsEncrypted => Box::new(RailsEncrypted::new(secrets)),
            Self::SecureCookie { max_age, encrypted } => {
                Box::new(SecureCookie::new(*max_age, *encrypted, secrets)?)
            }
            Self::DataProtection { application } => {
                Box::new(DataProtection::new(application, secrets)?)
            }
            Self::Keygrip { prefix } => Box::new(Keygrip::new(prefix, secrets)),
            Self::FlaskSigner => Box::new(FlaskSigner::new(secrets)),
            Self::BeakerCookie => Box::new(BeakerCookie::new(secrets)),
            Self::LaravelCookie { cipher } => Box::new(LaravelCookie::new(*cipher, secrets)?),
        })
    }
}

#[derive(Debug)]
struct Plain;

impl Open for Plain {
    fn open<'v>(&self, value: &'v [u8], _: &Carried<'_>) -> Result<Cow<'v, [u8]>, Invalid> {
        Ok(Cow::Borrowed(value))
    }
}

#[cfg(test)]
pub(in crate::session) mod tests {
    use super::*;

    /// What comes with a value in a test: a cookie `sid`, on the day on which most fixtures were captured.
    pub(in crate::session) const CARRIED: Carried<'static> =
        Carried { name: "sid", beside: None, now: 1_795_219_200 };

    #[test]
    fn plain_values_are_their_id() {
        let opener = Scheme::Plain.opener(None).unwrap();
        assert_eq!(opener.open(b"a.b", &CARRIED), Ok(Cow::Borrowed(&b"a.b"[..])));
        assert!(!Scheme::Plain.needs_secret());
    }
}
