//! What `session_redis_framework` knows: for each framework, whose sessions are read as it does by default.
//!
//! To add a framework: a file in `framework/` and a row in [`FRAMEWORKS`]. Of a decoded session nothing is
//! hidden, not what a framework keeps there for itself either (Express' `cookie`): a location gives out what
//! its pointers name.

#![forbid(unsafe_code)]

mod aiohttp;
mod aspnet;
mod beaker;
mod django;
mod express;
mod fastify;
mod fiber;
mod flask;
mod gorilla;
mod koa;
mod laravel;
mod php;
mod rack;
mod rails;
mod raw;
mod scs;
mod spring;
mod starlette;
mod symfony;
mod thinkphp;
mod tomcat;
mod user;

use serde_json::Value;

use crate::config::{unknown, ConfigError};
use crate::format::Pipeline;
use crate::pointer::Pointer;
use crate::session::cookie::Spelling;
use crate::session::id::IdRule;
use crate::session::identity::{Identity, Pick};
use crate::session::key::KeyForm;
use crate::session::scheme::Scheme;
use crate::stored::{Life, Shape};

pub use user::User;

/// All frameworks, in the order in which the documentation lists them.
const FRAMEWORKS: &[Row] = &[
    php::ROW,
    thinkphp::ROW,
    laravel::ROW,
    symfony::ROW,
    express::ROW,
    fastify::ROW,
    koa::ROW,
    django::ROW,
    flask::ROW,
    starlette::ROW,
    aiohttp::ROW,
    beaker::ROW,
    rack::ROW,
    rails::ROW,
    spring::ROW,
    tomcat::ROW,
    gorilla::ROW,
    scs::ROW,
    fiber::ROW,
    aspnet::ROW,
    raw::ROW,
];

/// One framework's row.
#[derive(Debug)]
struct Row {
    /// The name in the directive, and other names of what is read alike.
    names: &'static [&'static str],
    /// The options and their defaults.
    options: &'static [(&'static str, &'static str)],
    /// Makes the framework of its options.
    build: fn(&Options<'_>) -> Result<Framework, ConfigError>,
}

/// A framework with its options: what is read, and how, unless a directive says otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Framework {
    /// The name it was asked for by.
    pub name: &'static str,
    /// The cookies that may hold the id, in the order in which they are tried.
    pub cookies: Vec<String>,
    /// The path parameters that may hold it where no cookie does.
    pub paths: Vec<String>,
    /// How a cookie's value is an id.
    pub identity: Identity,
    /// The key of an id. `None`: the configuration must say how a key is made.
    pub key: Option<KeyForm>,
    /// The keys of what is kept beside a session and goes with it.
    pub keys_beside: Vec<KeyForm>,
    /// What a session is kept in.
    pub shape: Shape,
    /// How a value is read. `None`: the configuration must say it.
    pub format: Option<Pipeline>,
    /// What in a session says that it has ended, though it is stored: it cannot be touched then, since the
    /// key's time to live is not what counts.
    pub life: Vec<Life>,
    /// Where the user stands, from the root of the decoded value.
    pub user: Option<User>,
    /// Where in the decoded value the pointers of a configuration begin; `None`: at its own root.
    pub root: Option<Pointer>,
    /// What the application's own reading does to a session's life; `None`: nothing, or nothing known.
    pub refresh: Option<Refresh>,
}

impl Framework {
    /// Reads the directive's arguments: a name and `option=value`, in any order.
    pub fn parse(args: &[&str]) -> Result<Self, ConfigError> {
        let (name, options) = match args {
            [name, options @ ..] => (*name, options),
            [] => ("", args),
        };
        let rows = FRAMEWORKS.iter().flat_map(|row| row.names.iter().map(move |name| (*name, row)));
        let Some((name, row)) = rows.clone().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = rows.map(|(name, _)| name).collect();
            return Err(unknown("framework", name, &known));
        };
        (row.build)(&Options::parse(name, row.options, options)?)
    }

    /// A pointer of a configuration, from the root of the decoded value.
    pub fn rooted(&self, pointer: &Pointer) -> Pointer {
        match &self.root {
            Some(root) => root.join(pointer),
            None => pointer.clone(),
        }
    }

    /// What counts where no framework is named.
    pub fn raw() -> Self {
        raw::framework("raw")
    }

    /// What is so in most frameworks: an id in a cookie, unsigned, and a value in a string.
    fn plain(name: &'static str) -> Self {
        Self {
            name,
            cookies: Vec::new(),
            paths: Vec::new(),
            identity: Identity {
                pick: Pick::First,
                spelling: Spelling::Exact,
                unquote: true,
                url_decode: true,
                scheme: Scheme::Plain,
                rule: IdRule::default(),
            },
            key: None,
            keys_beside: Vec::new(),
            shape: Shape::Text,
            format: None,
            life: Vec::new(),
            user: None,
            root: None,
            refresh: None,
        }
    }
}

/// A pointer to the member of this name.
fn member(name: &str) -> Result<Pointer, ConfigError> {
    Pointer::parse(&format!("/{}", name.replace('~', "~0").replace('/', "~1")))
}

/// How long a session is to live on when the application has read it.
#[derive(Debug, Clone, PartialEq)]
pub enum Refresh {
    /// So many ms.
    Fixed(u64),
    /// As many ms as stand here in the session; where none stand, a default.
    Stored {
        /// Where, from the root of the decoded value.
        at: Pointer,
        /// In ms.
        default: u64,
    },
}

impl Refresh {
    /// The time to live that the application would give the key, in ms.
    pub fn ttl(&self, session: &Value) -> Option<u64> {
        match self {
            Self::Fixed(ms) => Some(*ms),
            Self::Stored { at, default } => match at.select(session) {
                crate::pointer::Selected::One(Value::Number(ms)) => whole(ms),
                _ => Some(*default),
            },
        }
    }

    /// What must be decoded of a session for [`Refresh::ttl`].
    pub fn pointer(&self) -> Option<Pointer> {
        match self {
            Self::Fixed(_) => None,
            Self::Stored { at, .. } => Some(at.clone()),
        }
    }
}

/// The number without its fraction; `None`: it is no time that a session could live on.
fn whole(number: &serde_json::Number) -> Option<u64> {
    let ms = number.as_u64().or_else(|| {
        let ms = number.as_f64().filter(|ms| (1.0..1e15).contains(ms))?;
        Some(ms as u64)
    });
    ms.filter(|ms| *ms > 0)
}

/// The options of a framework, as given or by default.
#[derive(Debug)]
struct Options<'a> {
    framework: &'static str,
    known: &'static [(&'static str, &'static str)],
    given: Vec<(&'static str, &'a str)>,
}

impl<'a> Options<'a> {
    fn parse(
        framework: &'static str,
        known: &'static [(&'static str, &'static str)],
        args: &[&'a str],
    ) -> Result<Self, ConfigError> {
        let mut options = Self { framework, known, given: Vec::new() };
        for arg in args {
            let (name, value) = arg.split_once('=').unwrap_or((arg, ""));
            let Some((name, _)) = known.iter().find(|(known, _)| *known == name) else {
                return Err(options.unknown(name));
            };
            if !arg.contains('=') {
                return Err(ConfigError::new(format!("{framework}: \"{name}\" has no value"))
                    .hint(format!("write \"{name}=value\"")));
            }
            if options.given(name).is_some() {
                return Err(ConfigError::new(format!("{framework}: \"{name}=\" is duplicate")));
            }
            options.given.push((name, value));
        }
        Ok(options)
    }

    fn unknown(&self, name: &str) -> ConfigError {
        if self.known.is_empty() {
            return ConfigError::new(format!("framework \"{}\" has no options", self.framework));
        }
        let known: Vec<&str> = self.known.iter().map(|(name, _)| *name).collect();
        unknown(&format!("option of framework \"{}\"", self.framework), name, &known)
    }

    /// The option's value, if it was given.
    fn given(&self, name: &str) -> Option<&'a str> {
        self.given.iter().find(|(given, _)| *given == name).map(|(_, value)| *value)
    }

    /// The option's value.
    fn get(&self, name: &str) -> &'a str {
        let default = || self.known.iter().find(|(known, _)| *known == name);
        self.given(name).or_else(|| default().map(|(_, default)| *default)).unwrap_or_default()
    }

    /// The option's value, which must be one of `values`.
    fn one_of(&self, name: &str, values: &[&'static str]) -> Result<&'static str, ConfigError> {
        let given = self.get(name);
        values.iter().copied().find(|value| *value == given).ok_or_else(|| {
            let framework = self.framework;
            ConfigError::new(format!("{framework}: \"{name}=\" cannot be \"{given}\""))
                .hint(format!("known: {}", values.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use base64::Engine;
    use serde_json::json;

    use super::*;
    use crate::format::Wanted;
    use crate::session::id::{Invalid, SessionId};
    use crate::session::scheme::Carried;
    use crate::session::secrets::Secrets;
    use crate::stored::{Decoder, Stored};

    /// What comes with a cookie's value, on the day on which most fixtures were captured.
    pub(super) fn carried<'a>(name: &'a str, beside: Option<&'a [u8]>) -> Carried<'a> {
        Carried { name, beside, now: 1_795_219_200 }
    }

    /// The id in a value of the framework's first cookie.
    pub(super) fn id(
        framework: &Framework,
        value: &str,
        secrets: &[&str],
    ) -> Result<SessionId, Invalid> {
        id_beside(framework, value, None, secrets)
    }

    /// The id in a value of the framework's first cookie, with that of the cookie which signs it.
    pub(super) fn id_beside(
        framework: &Framework,
        value: &str,
        beside: Option<&str>,
        secrets: &[&str],
    ) -> Result<SessionId, Invalid> {
        let name = framework.cookies.first().map_or("", String::as_str);
        let secrets = (!secrets.is_empty()).then(|| Secrets::parse_args(secrets).unwrap());
        let verifier = framework.identity.clone().verifier(secrets.as_ref()).unwrap();
        verifier.verify(value.as_bytes(), &carried(name, beside.map(str::as_bytes)))
    }

    /// The key of a cookie's value, as the framework makes it.
    pub(super) fn key(framework: &Framework, value: &str, secrets: &[&str]) -> String {
        key_of(framework, &id(framework, value, secrets).unwrap())
    }

    /// The key of an id, as the framework makes it.
    pub(super) fn key_of(framework: &Framework, id: &SessionId) -> String {
        String::from_utf8(framework.key.as_ref().unwrap().key(id).to_vec()).unwrap()
    }

    /// The options of a framework, from its name on.
    pub(super) fn framework(name: &'static str, options: &[&str]) -> Framework {
        Framework::parse(&[&[name], options].concat()).unwrap()
    }

    /// What a file of `t/data` tells of a captured session.
    pub(super) fn told(file: &str) -> Value {
        let path = format!("{}/t/data/{file}.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    /// The secrets of such a file, as they are to be written.
    pub(super) fn secrets(told: &Value) -> Vec<String> {
        let owned = |secret: &Value| secret.as_str().map(str::to_owned);
        match &told["secret"] {
            Value::Array(secrets) => secrets.iter().filter_map(owned).collect(),
            Value::Object(parts) => {
                let key = parts.get("master_key_base64").and_then(owned);
                let names = ["app_key", "secret_key_base", "hash_key", "block_key"];
                let parts = names.iter().filter_map(|name| owned(parts.get(*name)?));
                parts.chain(key.map(|key| format!("base64:{key}"))).collect()
            }
            secret => owned(secret).into_iter().collect(),
        }
    }

    /// What is stored by such a file.
    fn stored(told: &Value) -> Stored {
        let bytes = |text: &Value| STANDARD.decode(text.as_str().unwrap()).unwrap();
        match &told["hash_base64"] {
            Value::Object(fields) => {
                let field = |(name, value): (&String, _)| (name.clone().into_bytes(), bytes(value));
                Stored::Hash(fields.iter().map(field).collect())
            }
            _ => Stored::Text(bytes(&told["value_base64"])),
        }
    }

    pub(super) fn refused(args: &[&str]) -> String {
        Framework::parse(args).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_name_is_answered_with_those_that_are_known() {
        assert!(refused(&["expres"]).starts_with(
            "unknown framework \"expres\"; did you mean \"express\"? known: express, "
        ));
        assert!(refused(&[]).starts_with("unknown framework \"\""));
        assert!(refused(&["PHP"]).contains("did you mean \"php\"?"));
    }

    #[test]
    fn an_unknown_option_is_answered_with_those_that_are_known() {
        assert_eq!(
            refused(&["php", "prefx=a"]),
            "unknown option of framework \"php\" \"prefx\"; did you mean \"prefix\"? known: prefix, store, handler"
        );
        assert_eq!(refused(&["raw", "prefix=a"]), "framework \"raw\" has no options");
        assert_eq!(
            refused(&["php", "prefix"]),
            "php: \"prefix\" has no value; write \"prefix=value\""
        );
        assert_eq!(refused(&["php", "prefix=a", "prefix=b"]), "php: \"prefix=\" is duplicate");
    }

    #[test]
    fn an_option_may_be_empty_or_hold_more_equals_signs() {
        let key = |option| Framework::parse(&["php", option]).unwrap().key.unwrap().prefix;
        assert_eq!(key("prefix="), "");
        assert_eq!(key("prefix=a=b"), "a=b");
    }

    #[test]
    fn every_framework_can_be_asked_for_and_is_what_it_says() {
        for name in FRAMEWORKS.iter().flat_map(|row| row.names) {
            let framework = Framework::parse(&[name]).unwrap();
            assert_eq!(framework.name, *name);
        }
        assert_eq!(Framework::raw(), Framework::parse(&["raw"]).unwrap());
    }

    /// What was captured of real frameworks, from the cookie to the session.
    #[test]
    fn captured_sessions() {
        for (file, args) in [
            ("php-phpredis-php", &["php"][..]),
            ("php-phpredis-php_serialize", &["php"]),
            ("php-phpredis-php_binary", &["php", "handler=php_binary"]),
            ("php-phpredis-php-empty", &["php"]),
            ("php-phpredis-prefix", &["php", "prefix=shop:sess:"]),
            ("thinkphp5-redis", &["thinkphp"]),
            ("thinkphp5-redis-session_name", &["thinkphp", "session_name=think_sess_"]),
            ("node-express-connect-redis", &["express"]),
            ("node-express-connect-redis3-old", &["express"]),
            ("node-express-passport", &["express"]),
            ("node-express-passport-object", &["express"]),
            ("node-nestjs-express-session", &["nestjs", "prefix=nest:"]),
            ("node-fastify-session", &["fastify"]),
            ("node-koa-session", &["koa", "variant=session", "prefix=koa:app:"]),
            ("laravel-redis", &["laravel", "app=shop", "version=8"]),
            ("laravel-redis-predis", &["laravel", "app=shop", "version=8"]),
            ("laravel13-redis-json", &["laravel"]),
            ("symfony-redis-handler", &["symfony"]),
            ("django-core-rediscache", &["django"]),
            (
                "django-cached_db-prefix",
                &["django", "engine=cached_db", "prefix=shop", "version=2"],
            ),
            ("django-redis-pickle", &["django"]),
            ("django-redis-json", &["django"]),
            ("django-redis-json-zlib", &["django"]),
            ("django-redis-msgpack", &["django"]),
            ("django-pymemcache", &["django"]),
            ("django-redis-sessions", &["django", "engine=redis-sessions"]),
            ("flask-session05-pickle", &["flask"]),
            ("flask-session08-msgpack", &["flask"]),
            ("flask-session08-json-prefix", &["flask", "prefix=app1:"]),
            ("flask-session08-signer", &["flask", "signed=on"]),
            ("starlette-starsessions-redis", &["starlette"]),
            ("aiohttp-session-redis", &["aiohttp"]),
            ("beaker-redis-pickle", &["beaker"]),
            ("ruby-redis-rack", &["rack"]),
            ("ruby-redis-rack-hard", &["rack", "prefix=", "cookie=sid"]),
            ("ruby-dalli-memcached", &["rack", "store=dalli", "private_id=off"]),
            ("rails-redis-store", &["rails"]),
            ("rails-redis-store-signed", &["rails", "cookie=_shop_session", "encrypted=on"]),
            (
                "rails-redis-session-store-json",
                &["rails", "store=session-store", "prefix=myapp:session:"],
            ),
            ("spring-session-jdk", &["spring"]),
            ("spring-session-json", &["spring", "tags=keep"]),
            ("spring-session-json", &["spring"]),
            ("tomcat-redisson-jdk", &["tomcat", "prefix=shop"]),
            ("tomcat-memcached-session-manager", &["tomcat", "manager=msm"]),
            ("go-redistore-gob", &["gorilla", "name=session-name"]),
            (
                "go-redistore-json-enc",
                &["gorilla", "name=session-name", "prefix=shop:", "encrypted=on", "max_age=3600"],
            ),
            ("go-scs-gob", &["scs"]),
            ("go-fiber-session-gob", &["fiber"]),
            (
                "aspnetcore-distributed-session",
                &["aspnet", "instance=Shop:", "application=shop-app"],
            ),
        ] {
            let told = told(file);
            let secrets = secrets(&told);
            let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
            let framework = Framework::parse(args).unwrap();
            let cookie = told["cookie_value"].as_str().unwrap();
            let beside = told["signature_cookie"]["value"].as_str();
            let id = id_beside(&framework, cookie, beside, &secrets).unwrap();
            assert_eq!(key_of(&framework, &id), told["redis_key"], "{file}");
            for value in told["rejected_cookie_values"].as_array().into_iter().flatten() {
                let value = value.as_str().unwrap();
                assert!(id_beside(&framework, value, beside, &secrets).is_err(), "{file} {value}");
            }
            let Framework { shape, format, life, .. } = framework;
            let decoder = Decoder { shape, format: format.unwrap(), life };
            let session = decoder.decode(&stored(&told), &Wanted::All).map(|session| session.value);
            let expected = match told.get("expected_simplified") {
                Some(expected) if !args.contains(&"tags=keep") => expected,
                _ => &told["expected"],
            };
            assert_eq!(session.as_ref(), Ok(expected), "{file}");
        }
    }

    #[test]
    fn a_life_that_is_stored() {
        let at = Pointer::parse("/cookie/originalMaxAge").unwrap();
        let refresh = Refresh::Stored { at, default: 9 };
        for (age, ttl) in [
            (json!(3_600_000), Some(3_600_000)),
            (json!(1500.7), Some(1500)),
            (json!(null), Some(9)),
            (json!("1"), Some(9)),
            (json!(0), None),
            (json!(-5), None),
            (serde_json::from_str("1e400").unwrap(), None),
        ] {
            assert_eq!(refresh.ttl(&json!({ "cookie": { "originalMaxAge": age } })), ttl);
        }
        assert_eq!(refresh.ttl(&json!([])), Some(9));
        assert_eq!(Refresh::Fixed(5).ttl(&json!(null)), Some(5));
    }
}
