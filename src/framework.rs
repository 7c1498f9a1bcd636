//! What `session_redis_framework` knows: for each framework, whose sessions are read as it does by default.
//!
//! To add a framework: a file in `framework/` and a row in [`FRAMEWORKS`]. Of a decoded session nothing is
//! hidden, not what a framework keeps there for itself either (Express' `cookie`): a location gives out what
//! its pointers name.

#![forbid(unsafe_code)]

mod express;
mod php;
mod raw;
mod thinkphp;

use serde_json::Value;

use crate::config::{unknown, ConfigError};
use crate::format::Pipeline;
use crate::pointer::Pointer;
use crate::session::identity::Identity;

/// All frameworks, in the order in which the documentation lists them.
const FRAMEWORKS: &[Row] = &[php::ROW, thinkphp::ROW, express::ROW, raw::ROW];

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
    /// How a cookie's value is an id.
    pub identity: Identity,
    /// What stands before the id in a key. `None`: the configuration must say how a key is made.
    pub key: Option<String>,
    /// How a value is read. `None`: the configuration must say it.
    pub format: Option<Pipeline>,
    /// Where the user stands, from the root of the decoded value.
    pub user: Option<Pointer>,
    /// Where in the decoded value the pointers of a configuration begin; `None`: at its own root.
    pub root: Option<Pointer>,
    /// Whether nothing is read without a secret.
    pub signed: bool,
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

    /// What counts where no framework is named.
    pub fn raw() -> Self {
        raw::framework("raw")
    }

    /// The cookies that the framework sets beside the one called `name`, which a logout expires with it.
    /// None of those that are served sets one.
    pub fn cookies_beside(&self, _name: &str) -> Vec<String> {
        Vec::new()
    }
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
    use crate::session::secrets::Secrets;

    /// The key of a cookie's value, as the framework makes it.
    pub(super) fn key(framework: &Framework, value: &str, secrets: &[&str]) -> String {
        let secrets = Secrets::parse_args(secrets).unwrap();
        let id = framework.identity.verify(value.as_bytes(), Some(&secrets)).unwrap();
        format!("{}{}", framework.key.as_ref().unwrap(), id.as_str())
    }

    pub(super) fn refused(args: &[&str]) -> String {
        Framework::parse(args).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_name_is_answered_with_those_that_are_known() {
        assert_eq!(
            refused(&["expres"]),
            "unknown framework \"expres\"; did you mean \"express\"? known: express, php, nestjs, raw, thinkphp"
        );
        assert!(refused(&[]).starts_with("unknown framework \"\""));
        assert!(refused(&["PHP"]).contains("did you mean \"php\"?"));
    }

    #[test]
    fn an_unknown_option_is_answered_with_those_that_are_known() {
        assert_eq!(
            refused(&["php", "prefx=a"]),
            "unknown option of framework \"php\" \"prefx\"; did you mean \"prefix\"? known: prefix, handler"
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
        let key = |option| Framework::parse(&["php", option]).unwrap().key.unwrap();
        assert_eq!(key("prefix="), "");
        assert_eq!(key("prefix=a=b"), "a=b");
    }

    #[test]
    fn every_framework_can_be_asked_for_and_is_what_it_says() {
        for name in FRAMEWORKS.iter().flat_map(|row| row.names) {
            let framework = Framework::parse(&[name]).unwrap();
            assert_eq!(framework.name, *name);
            assert_eq!(framework.signed, framework.identity.signing.needs_secret());
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
        ] {
            let path = format!("{}/t/data/{file}.json", env!("CARGO_MANIFEST_DIR"));
            let told: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
            let texts = |name: &str| -> Vec<String> {
                serde_json::from_value(told[name].clone()).unwrap_or_default()
            };
            let secrets = texts("secret");
            let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
            let framework = Framework::parse(args).unwrap();
            let cookie = told["cookie_value"].as_str().unwrap();
            assert_eq!(key(&framework, cookie, &secrets), told["redis_key"], "{file}");
            for value in texts("rejected_cookie_values") {
                let secrets = Secrets::parse_args(&secrets).unwrap();
                let refused = framework.identity.verify(value.as_bytes(), Some(&secrets));
                assert!(refused.is_err(), "{file} {value}");
            }
            let stored = STANDARD.decode(told["value_base64"].as_str().unwrap()).unwrap();
            let session = framework.format.unwrap().decode(&stored, &Wanted::All).unwrap();
            assert_eq!(session, told["expected"], "{file}");
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
