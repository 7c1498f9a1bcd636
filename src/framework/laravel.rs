//! Laravel with `SESSION_DRIVER=redis`.

#![forbid(unsafe_code)]

use super::php;
use super::{member, Framework, Options, Refresh, Row, User};
use crate::config::ConfigError;
use crate::format::Pipeline;
use crate::session::envelope::Cipher;
use crate::session::id::IdRule;
use crate::session::identity::Identity;
use crate::session::key::{Digest, KeyForm};
use crate::session::scheme::Scheme;

pub(super) const ROW: Row = Row {
    names: &["laravel"],
    options: &[
        ("app", "laravel"),
        ("version", ""),
        ("guard", "web"),
        ("cipher", ""),
        ("redis_prefix", ""),
        ("cache_prefix", ""),
    ],
    build,
};

fn build(options: &Options<'_>) -> Result<Framework, ConfigError> {
    let names = Names::of(options)?;
    let guard = Digest::Sha1.hex(br"Illuminate\Auth\SessionGuard");
    let user = member(&format!("login_{}_{guard}", options.get("guard")))?;
    Ok(Framework {
        cookies: vec![names.cookie],
        // `Illuminate\Session\Store::isValidId`
        identity: Identity {
            scheme: Scheme::LaravelCookie { cipher: cipher(options)? },
            rule: IdRule::new("A-Za-z0-9", 40, 40),
            ..php::IDENTITY
        },
        key: Some(KeyForm::prefixed(names.redis_prefix + &names.cache_prefix)),
        format: Some(Pipeline::parse(&["php_serialize"])?),
        user: Some(User::at(user)),
        // `session.lifetime`, 120 minutes; each request writes the session.
        refresh: Some(Refresh::Fixed(7_200_000)),
        ..Framework::plain(options.framework)
    })
}

/// The option `cipher`; where it is not given, CBC by keys of either length.
fn cipher(options: &Options<'_>) -> Result<Option<Cipher>, ConfigError> {
    if options.given("cipher").is_none() {
        return Ok(None);
    }
    let cipher = options.one_of("cipher", &Cipher::ALL.map(|cipher| cipher.name))?;
    Ok(Cipher::ALL.into_iter().find(|known| known.name == cipher))
}

/// What `config/session.php`, `database.php` and `cache.php` of a new application make of its name.
#[derive(Debug, PartialEq)]
struct Names {
    cookie: String,
    redis_prefix: String,
    /// With what `Illuminate\Cache\RedisStore` adds to it.
    cache_prefix: String,
}

impl Names {
    fn of(options: &Options<'_>) -> Result<Self, ConfigError> {
        let version = Version::of(options)?;
        let app = options.get("app");
        if !app.is_ascii() {
            return Err(ConfigError::new("laravel: \"app=\" must be ASCII").hint(
                "for another name give \"redis_prefix=\", \"cache_prefix=\" and \"session_redis_cookie\"",
            ));
        }
        let separator = if version >= Version(12, 1) { "-" } else { "_" };
        let app = slug(if app.is_empty() { "laravel" } else { app }, separator);
        let named = |option, name: String| options.given(option).map_or(name, str::to_owned);
        let mut cache_prefix = format!("{app}{separator}cache");
        if version >= Version(9, 0) {
            cache_prefix.push_str(separator);
        }
        let mut cache_prefix = named("cache_prefix", cache_prefix);
        if version < Version(11, 0) && !cache_prefix.is_empty() {
            cache_prefix.push(':');
        }
        Ok(Self {
            // 12.1 and 12.2 had dashes in the other two only.
            cookie: match version >= Version(12, 3) {
                true => format!("{app}-session"),
                false => format!("{}_session", app.replace('-', "_")),
            },
            redis_prefix: named("redis_prefix", format!("{app}{separator}database{separator}")),
            cache_prefix,
        })
    }
}

/// Major and minor version.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
struct Version(u16, u16);

impl Version {
    /// Before, a connection had no prefix.
    const OLDEST: Self = Self(6, 0);

    /// The option `version`; where it is not given, the newest.
    fn of(options: &Options<'_>) -> Result<Self, ConfigError> {
        let Some(text) = options.given("version") else { return Ok(Self(u16::MAX, 0)) };
        let mut numbers = text.split('.').map(|number| number.parse().ok());
        let version = numbers.next().flatten().zip(numbers.next().unwrap_or(Some(0)));
        version
            .map(|(major, minor)| Self(major, minor))
            .filter(|it| *it >= Self::OLDEST)
            .ok_or_else(|| {
                ConfigError::new(format!("laravel: \"version=\" cannot be \"{text}\""))
                    .hint("write a version from 6 on, like 8 or 12.1")
            })
    }
}

/// `Str::slug` of an ASCII title.
fn slug(title: &str, separator: &str) -> String {
    let title = title.replace('@', " at ").to_ascii_lowercase();
    let words = title.split(|c: char| c == '-' || c == '_' || c.is_whitespace());
    let words = words.map(|word| word.replace(|c: char| !c.is_ascii_alphanumeric(), ""));
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(separator)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::framework::tests::{carried, framework, id, key, refused, secrets, told};
    use crate::session::id::Invalid;
    use crate::session::secrets::Secrets;

    /// Cookie and prefix of a key.
    fn names(options: &[&str]) -> (String, String) {
        let Framework { cookies, key, .. } = framework("laravel", options);
        (cookies.concat(), key.unwrap().prefix)
    }

    #[test]
    fn names_of_every_version() {
        for (version, cookie, prefix) in [
            ("6", "my_shop_session", "my_shop_database_my_shop_cache:"),
            ("8.83.26", "my_shop_session", "my_shop_database_my_shop_cache:"),
            ("9", "my_shop_session", "my_shop_database_my_shop_cache_:"),
            ("10.48", "my_shop_session", "my_shop_database_my_shop_cache_:"),
            ("11", "my_shop_session", "my_shop_database_my_shop_cache_"),
            ("12", "my_shop_session", "my_shop_database_my_shop_cache_"),
            ("12.1", "my_shop_session", "my-shop-database-my-shop-cache-"),
            ("12.3", "my-shop-session", "my-shop-database-my-shop-cache-"),
            ("13", "my-shop-session", "my-shop-database-my-shop-cache-"),
        ] {
            let version = format!("version={version}");
            let names = names(&["app=My Shop", &version]);
            assert_eq!(names, (cookie.to_owned(), prefix.to_owned()), "{version}");
        }
        let newest = ("laravel-session".to_owned(), "laravel-database-laravel-cache-".to_owned());
        assert_eq!(names(&[]), newest);
        assert_eq!(names(&["app="]), newest);
    }

    #[test]
    fn prefixes_as_they_stand_in_the_configuration() {
        let prefix = |options: &[&str]| names(options).1;
        assert_eq!(prefix(&["redis_prefix=r_", "cache_prefix=c"]), "r_c");
        assert_eq!(prefix(&["redis_prefix=", "cache_prefix=c", "version=10"]), "c:");
        assert_eq!(prefix(&["redis_prefix=", "cache_prefix=", "version=8"]), "");
    }

    #[test]
    fn slugs() {
        for (title, underscored) in [
            ("shop", "shop"),
            ("My Shop", "my_shop"),
            ("  My--Shop_ 2 ", "my_shop_2"),
            ("Shop & Co.", "shop_co"),
            ("me@home", "me_at_home"),
            ("ShopApp", "shopapp"),
            ("a.b/c", "abc"),
            ("...", ""),
        ] {
            assert_eq!(slug(title, "_"), underscored, "{title}");
            assert_eq!(slug(title, "-"), underscored.replace('_', "-"), "{title}");
        }
    }

    #[test]
    fn a_cookie_is_that_of_its_name_and_of_a_key_that_is_known() {
        let file = told("laravel-redis");
        let value = file["cookie_value"].as_str().unwrap();
        let keys = secrets(&file);
        let app_key = keys[0].as_str();
        let shop = framework("laravel", &["app=shop", "version=8"]);
        let own = "ZusYFbwCdasvwstaz0khogTIAlwGE2pseHAhl1gq";
        let newer = "base64:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        assert_eq!(key(&shop, value, &[newer, app_key]), format!("shop_database_shop_cache:{own}"));
        assert_eq!(id(&shop, value, &[newer]), Err(Invalid::Signature));
        assert_eq!(id(&shop, own, &[app_key]), Err(Invalid::Signature));
        assert_eq!(id(&shop, own, &[]), Err(Invalid::Signature));
        let other = framework("laravel", &["app=other", "version=8"]);
        assert_eq!(id(&other, value, &[app_key]), Err(Invalid::Signature));
    }

    #[test]
    fn keys_must_have_the_length_of_the_cipher() {
        let refused = |options: &[&str], key: &str| {
            let secrets = Secrets::parse_file(key.as_bytes(), "laravel.key").unwrap();
            let identity = framework("laravel", options).identity;
            identity.verifier(Some(&secrets)).unwrap_err().to_string()
        };
        assert_eq!(
            refused(&[], "base64:AAAA"),
            "laravel.key line 1: APP_KEY must be 16 or 32 bytes after \"base64:\""
        );
        assert_eq!(
            refused(&["cipher=AES-256-CBC"], &format!("{}\n{}", "k".repeat(32), "k".repeat(16))),
            "laravel.key line 2: APP_KEY must be 32 bytes for cipher AES-256-CBC"
        );
        let secrets = Secrets::parse_args(&["0123456789abcdef"]).unwrap();
        let identity = framework("laravel", &["cipher=AES-128-GCM"]).identity;
        let verifier = identity.verifier(Some(&secrets)).unwrap();
        assert!(verifier.verify(b"e30%3D", &carried("laravel-session", None)).is_err());
    }

    #[test]
    fn the_user_of_a_guard() {
        let web = "login_web_59ba36addc2b2f9401580f014c7f58ea4e30989d";
        let session = json!({ web: 1001, web.replace("web", "admin"): 7 });
        let user = |options: &[&str]| framework("laravel", options).user.unwrap().text(&session);
        assert_eq!(user(&[]).unwrap(), "1001");
        assert_eq!(user(&["guard=admin"]).unwrap(), "7");
        assert_eq!(user(&["guard=api"]), None);
    }

    #[test]
    fn options_that_do_not_fit() {
        for (option, message) in [
            (
                "version=5",
                "laravel: \"version=\" cannot be \"5\"; write a version from 6 on, like 8 or 12.1",
            ),
            (
                "version=8.x",
                "laravel: \"version=\" cannot be \"8.x\"; write a version from 6 on, like 8 or 12.1",
            ),
            (
                "cipher=AES-256",
                "laravel: \"cipher=\" cannot be \"AES-256\"; known: AES-128-CBC, AES-256-CBC, AES-128-GCM, AES-256-GCM",
            ),
            (
                "app=Café",
                "laravel: \"app=\" must be ASCII; for another name give \"redis_prefix=\", \"cache_prefix=\" and \"session_redis_cookie\"",
            ),
        ] {
            assert_eq!(refused(&["laravel", option]), message);
        }
    }
}
