//! `session-redis explain`: what the module would make of a request's session, step by step, without nginx.

#![forbid(unsafe_code)]

use std::io::Read;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lexopt::prelude::*;
use ngx_http_session_redis_module::config::ConfigError;
use ngx_http_session_redis_module::explain::Report;
use ngx_http_session_redis_module::format::Pipeline;
use ngx_http_session_redis_module::framework::{Framework, User};
use ngx_http_session_redis_module::inject::Encode;
use ngx_http_session_redis_module::pointer::Pointer;
use ngx_http_session_redis_module::session::id::SessionId;
use ngx_http_session_redis_module::session::identity::Verifier;
use ngx_http_session_redis_module::session::key::KeyForm;
use ngx_http_session_redis_module::session::scheme::Carried;
use ngx_http_session_redis_module::session::secrets::Secrets;
use ngx_http_session_redis_module::stored::{Decoder, Fields, Shape, Stored};

const HELP: &str = "\
Usage: session-redis explain [option …]

Tells step by step what the module would make of a session. Neither ids nor values are shown.

  --framework 'NAME [option=value …]'   as in session_redis_framework (default: raw)
  --cookie-name NAME                    as in session_redis_cookie
  --secret SECRET, --secret-file FILE   as in session_redis_secret, session_redis_secret_file
  --key PREFIX                          what stands before the id in the key, where the framework does not say
  --format 'NAME …'                     as in session_redis_format
  --max-size SIZE                       as max_size of the store, 64k by default: what a session may become follows from it
  --user POINTER                        as in session_redis_user
  --header 'NAME POINTER'               as in session_redis_set_header; several may be given

  --cookie 'NAME=VALUE; …'              the request's Cookie header; - reads it from standard input
  --redis URL                           redis://[user[:password]@]host[:port][/db] or redis+unix:///path[?db=n]
  --stdin                               reads the stored value from standard input and asks no store
  --json                                prints JSON

The exit status is 0 where a session was read, 1 where not, 2 where the command line is wrong.
";

/// How long connecting, and each question to the store, may take.
const TIMEOUT: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let arguments = match Arguments::parse() {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("session-redis: {error}");
            eprintln!("\"session-redis --help\" tells the options");
            return ExitCode::from(2);
        }
    };
    let mut report = Report::default();
    match explain(&arguments, &mut report) {
        Ok(read) => {
            match arguments.json {
                true => println!("{}", report.json()),
                false => print!("{}", report.text()),
            }
            ExitCode::from(u8::from(!(read && report.is_good())))
        }
        Err(error) => {
            eprintln!("session-redis: {error}");
            ExitCode::from(2)
        }
    }
}

#[derive(Default)]
struct Arguments {
    framework: Vec<String>,
    cookie_name: Option<String>,
    secrets: Vec<String>,
    secret_file: Option<String>,
    key: Option<String>,
    format: Vec<String>,
    max_size: Option<usize>,
    user: Option<String>,
    headers: Vec<String>,
    cookie: Option<String>,
    redis: Option<String>,
    stdin: bool,
    json: bool,
}

impl Arguments {
    /// `None`: help is asked for.
    fn parse() -> Result<Option<Self>, lexopt::Error> {
        let mut arguments = Self::default();
        let mut parser = lexopt::Parser::from_env();
        let mut explains = false;
        let words = |text: String| text.split_whitespace().map(str::to_owned).collect();
        while let Some(argument) = parser.next()? {
            match argument {
                Value(command) if !explains && command == "explain" => explains = true,
                Short('h') | Long("help") => return Ok(None),
                Long("framework") => arguments.framework = words(parser.value()?.string()?),
                Long("cookie-name") => arguments.cookie_name = Some(parser.value()?.string()?),
                Long("secret") => arguments.secrets.push(parser.value()?.string()?),
                Long("secret-file") => arguments.secret_file = Some(parser.value()?.string()?),
                Long("key") => arguments.key = Some(parser.value()?.string()?),
                Long("format") => arguments.format = words(parser.value()?.string()?),
                Long("max-size") => {
                    arguments.max_size = Some(parser.value()?.parse_with(size)?);
                }
                Long("user") => arguments.user = Some(parser.value()?.string()?),
                Long("header") => arguments.headers.push(parser.value()?.string()?),
                Long("cookie") => arguments.cookie = Some(parser.value()?.string()?),
                Long("redis") => arguments.redis = Some(parser.value()?.string()?),
                Long("stdin") => arguments.stdin = true,
                Long("json") => arguments.json = true,
                _ => return Err(argument.unexpected()),
            }
        }
        match explains {
            true => Ok(Some(arguments)),
            false => Err("the command is missing: \"session-redis explain\"".into()),
        }
    }

    fn framework(&self) -> Result<Framework, ConfigError> {
        let mut framework = match self.framework.is_empty() {
            true => Framework::raw(),
            false => Framework::parse(&strs(&self.framework))?,
        };
        if let Some(name) = &self.cookie_name {
            framework.cookies = vec![name.clone()];
        }
        if let Some(prefix) = &self.key {
            framework.key = Some(KeyForm::prefixed(prefix));
        }
        if !self.format.is_empty() {
            framework.format = Some(Pipeline::parse(&strs(&self.format))?);
        }
        if let Some(user) = &self.user {
            framework.user = Some(User::at(framework.rooted(&Pointer::parse(user)?)));
        }
        Ok(framework)
    }

    fn secrets(&self) -> Result<Option<Secrets>, Error> {
        if let Some(file) = &self.secret_file {
            let content = std::fs::read(file).map_err(|error| format!("\"{file}\": {error}"))?;
            return Ok(Some(Secrets::parse_file(&content, file)?));
        }
        match self.secrets.is_empty() {
            true => Ok(None),
            false => Ok(Some(Secrets::parse_args(&strs(&self.secrets))?)),
        }
    }
}

/// A size as nginx reads it: bytes, or with `k` or `m` behind it.
fn size(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.to_ascii_lowercase() {
        text if text.ends_with('k') => (text.len() - 1, 1024),
        text if text.ends_with('m') => (text.len() - 1, 1024 * 1024),
        text => (text.len(), 1),
    };
    let number = text.get(..digits).and_then(|digits| digits.parse::<usize>().ok());
    number
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(|| format!("\"{text}\" is no size"))
}

/// Any reason for which nothing can be explained.
type Error = Box<dyn std::error::Error>;

/// Fills the report. False: there was no session to read.
fn explain(arguments: &Arguments, report: &mut Report) -> Result<bool, Error> {
    let framework = arguments.framework()?;
    let secrets = arguments.secrets()?;
    let format =
        framework.format.clone().ok_or("\"--format\" is missing: the framework says none")?;
    let decoder = Decoder {
        shape: framework.shape,
        format: format
            .with_secrets(secrets.as_ref(), framework.identity.scheme.cipher())?
            .with_max_size(arguments.max_size.unwrap_or(Pipeline::MAX_SIZE)),
        life: framework.life.clone(),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();

    let stored = if arguments.stdin {
        let mut value = Vec::new();
        std::io::stdin().read_to_end(&mut value)?;
        report.note("store", format!("a value of {} bytes from standard input", value.len()));
        Stored::Text(value)
    } else {
        if framework.identity.scheme.needs_secret() && secrets.is_none() {
            return Err("the framework signs its ids: \"--secret-file\" is missing".into());
        }
        let verifier = framework.identity.clone().verifier(secrets.as_ref())?;
        let Some(id) = identify(arguments, &framework, &verifier, now.as_secs(), report)? else {
            return Ok(false);
        };
        match fetch(arguments, &framework, &id, report)? {
            Some(stored) => stored,
            None => return Ok(false),
        }
    };
    let Some(session) = report.decode(&decoder, &stored, now.as_millis() as u64) else {
        return Ok(false);
    };
    report.session(&session.value);
    report.user(framework.user.as_ref(), &session.value);
    for header in &arguments.headers {
        let (name, pointer) =
            header.split_once(' ').ok_or("\"--header\" takes a name and a pointer")?;
        let pointer = framework.rooted(&Pointer::parse(pointer.trim())?);
        report.header(name, None, Encode::Raw, &pointer.select(&session.value));
    }
    Ok(true)
}

/// The id in the Cookie header.
fn identify(
    arguments: &Arguments,
    framework: &Framework,
    verifier: &Verifier,
    now: u64,
    report: &mut Report,
) -> Result<Option<SessionId>, Error> {
    let header = match arguments.cookie.as_deref() {
        None => return Err("\"--cookie\" is missing, or \"--stdin\"".into()),
        Some("-") => std::io::read_to_string(std::io::stdin())?,
        Some(header) => header.to_owned(),
    };
    let header = header.trim().trim_start_matches("Cookie:");
    let lines = || [header.as_bytes()];
    if framework.cookies.is_empty() {
        return Err("\"--cookie-name\" is missing: the framework names no cookie".into());
    }
    for name in &framework.cookies {
        let beside = verifier.beside(name).map(|name| verifier.signatures(lines(), &name));
        let carried = Carried { name, beside: beside.and_then(|found| found.preferred()), now };
        let found = verifier.cookies(lines(), name);
        let id = report.identify(&format!("cookie {name}"), found.as_slice(), verifier, &carried);
        if id.is_some() {
            return Ok(id);
        }
    }
    Ok(None)
}

/// What the store has under the id's key.
fn fetch(
    arguments: &Arguments,
    framework: &Framework,
    id: &SessionId,
    report: &mut Report,
) -> Result<Option<Stored>, Error> {
    let form = framework.key.as_ref().ok_or("\"--key\" is missing: the framework makes no key")?;
    report.key(form);
    let Some(url) = &arguments.redis else {
        report.note("store", "not asked: \"--redis\" is missing");
        return Ok(None);
    };
    match ask(url, &form.key(id), framework.shape) {
        Ok(Answer { server, stored, ttl }) => {
            report.stored(&server, stored.as_ref(), u64::try_from(ttl).ok());
            Ok(stored)
        }
        // The crate's errors hold the server's words, and no part of the url or of a command.
        Err(error) => {
            report.bad("store", error.to_string());
            Ok(None)
        }
    }
}

struct Answer {
    /// Its address.
    server: String,
    stored: Option<Stored>,
    /// In ms; negative: the key has no end.
    ttl: i64,
}

fn ask(url: &str, key: &[u8], shape: Shape) -> redis::RedisResult<Answer> {
    let client = redis::Client::open(url)?;
    let server = client.get_connection_info().addr().to_string();
    let mut connection = client.get_connection_with_timeout(TIMEOUT)?;
    connection.set_read_timeout(Some(TIMEOUT))?;
    connection.set_write_timeout(Some(TIMEOUT))?;
    let hash = match shape {
        Shape::Text => false,
        Shape::Hash | Shape::Field(_) => true,
        Shape::Any => redis::cmd("TYPE").arg(key).query::<String>(&mut connection)? == "hash",
    };
    let mut pipeline = redis::pipe();
    pipeline.cmd(if hash { "HGETALL" } else { "GET" }).arg(key);
    pipeline.cmd("PTTL").arg(key);
    Ok(match hash {
        false => {
            let (value, ttl): (Option<Vec<u8>>, i64) = pipeline.query(&mut connection)?;
            Answer { server, stored: value.map(Stored::Text), ttl }
        }
        true => {
            let (fields, ttl): (Fields, i64) = pipeline.query(&mut connection)?;
            Answer { server, stored: (!fields.is_empty()).then_some(Stored::Hash(fields)), ttl }
        }
    })
}

fn strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}
