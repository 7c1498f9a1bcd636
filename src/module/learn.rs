//! `session_redis_route learn`: what responses teach of where sessions belong, and which servers get no new ones.

use core::cell::RefCell;
use std::rc::Rc;

use nginx_sys::{ngx_event_t, ngx_exiting, ngx_log_t};

use super::conf::{Learn, MainConf};
use super::context::{derive_key, Context, LookedUp};
use super::event::{time_of_day, Event};
use super::handler;
use super::lookup::{Query, Ticket};
use super::plan::Plan;
use super::request::{Header, Request};
use super::store::Store;
use crate::config::ConfigError;
use crate::policy::Status;
use crate::route::assignment::Keys;
use crate::route::drained::Drained;
use crate::route::lesson::{Answered, Lesson};
use crate::route::set_cookie::SetCookie;
use crate::route::write::Write;
use crate::session::id::SessionId;
use crate::session::scheme::Carried;
use crate::store::dialect::Dialect;

/// How often the set of drained servers is read, in ms.
const DRAINED_EVERY: u64 = 2000;

/// How the requests of a location learn.
pub(super) struct Learns {
    learner: Rc<Learner>,
    /// The cookies by which a response names a session.
    cookies: Vec<String>,
    /// The life of an assignment whose session tells none, in seconds.
    fallback: u64,
}

/// What all locations with the same store and prefix have in common.
pub(super) struct Learner {
    store: Rc<Store>,
    prefix: String,
    keys: Keys,
    drained: Rc<Drained>,
    timer: RefCell<Option<Event>>,
}

impl Learns {
    /// By a location's settings; `cookies` are those that may hold its ids.
    pub(super) fn new(
        main: &MainConf,
        store: &Rc<Store>,
        learn: &Learn,
        cookies: Vec<String>,
    ) -> Result<Self, ConfigError> {
        if store.cluster.is_some() || store.dialect() != Dialect::Redis {
            return Err(ConfigError::new(format!(
                "store \"{}\" cannot keep the routes of sessions: they are written by a script that sees session and \
                 route at one Redis",
                store.name
            ))
            .hint("use a store with a single Redis, its replicas or Sentinels; with others \"session_redis_route\" takes a value of the session"));
        }
        Ok(Self {
            learner: Learner::of(main, store, &learn.prefix),
            cookies: learn.create.as_ref().map_or(cookies, |name| vec![name.clone()]),
            fallback: learn.life,
        })
    }

    /// The key of a session's assignment.
    pub(super) fn route_key(&self, id: &SessionId) -> Rc<[u8]> {
        self.learner.keys.of(id.as_bytes())
    }
}

impl Learner {
    fn of(main: &MainConf, store: &Rc<Store>, prefix: &str) -> Rc<Self> {
        let mut learners = main.learners.borrow_mut();
        let known =
            learners.iter().find(|other| Rc::ptr_eq(&other.store, store) && other.prefix == prefix);
        if let Some(known) = known {
            return Rc::clone(known);
        }
        let learner = Rc::new(Self {
            store: Rc::clone(store),
            prefix: prefix.to_owned(),
            keys: Keys::new(prefix),
            drained: Rc::default(),
            timer: RefCell::default(),
        });
        learners.push(Rc::clone(&learner));
        learner
    }

    fn start(&self, log: *mut ngx_log_t) {
        let timer = Event::new(on_timer, core::ptr::from_ref(self).cast_mut().cast(), log);
        timer.set_cancelable(true);
        timer.arm(1);
        *self.timer.borrow_mut() = Some(timer);
    }

    /// Asks for the set; what is known stays until there is an answer.
    fn read_drained(&self) {
        let key = format!("{}drain", self.prefix).into_bytes().into();
        let drained = Rc::clone(&self.drained);
        if let Some(client) = self.store.client() {
            // Nobody waits: the answer goes where it is looked up.
            let _ = client.ask(Query::Drained { key, drained });
        }
        if let Some(timer) = &*self.timer.borrow() {
            timer.arm(DRAINED_EVERY);
        }
    }
}

const _: () = assert!(size_of::<Learner>() >= 32, "nginx's debug log looks for a descriptor there");

unsafe extern "C" fn on_timer(event: *mut ngx_event_t) {
    // SAFETY: the event's data is a learner, which owns the event; nginx writes the variable on this thread only.
    let (learner, exiting) = unsafe { (&*(*event).data.cast::<Learner>(), ngx_exiting != 0) };
    if !exiting {
        learner.read_drained();
    }
}

/// A worker starts.
pub(super) fn start_all(main: &MainConf, log: *mut ngx_log_t) {
    main.learners.borrow().iter().for_each(|learner| learner.start(log));
}

/// The worker leaves.
pub(super) fn stop_all(main: &MainConf) {
    main.learners.borrow().iter().for_each(|learner| drop(learner.timer.take()));
}

/// Whether anything learns.
pub(super) fn is_used(main: &MainConf) -> bool {
    !main.learners.borrow().is_empty()
}

/// The servers that the fleet gives no new sessions, where the request's location learns.
pub(super) fn drained(r: Request) -> Option<Rc<Drained>> {
    let plan = handler::plan(r.main())?;
    plan.learns().map(|learns| Rc::clone(&learns.learner.drained))
}

/// The key under which the request's session is assigned, where its location learns.
pub(super) fn route_key(r: Request, context: &Context, plan: &Plan) -> Option<Rc<[u8]>> {
    let learns = plan.learns()?;
    context.id(r, plan).map(|id| learns.route_key(&id))
}

/// A response is about to be sent: writes what it teaches. A ticket: not before that is written.
pub(super) fn learn(r: Request) -> Option<Ticket> {
    let plan = handler::plan(r)?;
    let (learns, context) = (plan.learns()?, Context::of(r)?);
    let server = r.answering_server()?;
    let client = learns.learner.store.client().filter(|client| client.routes().may_write())?;

    let write = match cookie_set(r, &plan, learns) {
        Some(Cookie::Ended) => return None,
        Some(Cookie::Session(id)) if context.id.borrow().as_ref() != Some(&id) => {
            of_new(r, context, &plan, learns, id, server)?
        }
        Some(Cookie::Session(_)) | None => of_known(r, context, &plan, learns, server)?,
    };
    let first = write.lesson.first;
    // A session's requests that come at once renew its assignment once.
    if !first && client.is_under_way(&write.route) {
        return None;
    }
    let (ticket, _) = client.ask(Query::Assign(Box::new(write)));
    (first && ticket.answer().is_none()).then_some(ticket)
}

/// What a response says of its session by a cookie.
enum Cookie {
    Session(SessionId),
    /// The browser is to forget it.
    Ended,
}

fn cookie_set(r: Request, plan: &Plan, learns: &Learns) -> Option<Cookie> {
    let set = || {
        let lines = r.upstream_headers().filter(|header| header.is_called(b"set-cookie"));
        lines.filter_map(|line: Header| SetCookie::parse(line.value()))
    };
    let name_of =
        |cookie: &SetCookie| learns.cookies.iter().find(|name| name.as_bytes() == cookie.name);
    // Of several the browser keeps the last.
    let (cookie, name) = set().filter_map(|cookie| Some((cookie, name_of(&cookie)?))).last()?;
    let now = time_of_day() / 1000;
    if cookie.is_end(now) {
        return Some(Cookie::Ended);
    }
    let beside = plan.verifier.beside(name);
    let beside = beside.and_then(|name| set().filter(|set| set.name == name.as_bytes()).last());
    let carried = Carried { name, beside: beside.map(|cookie| cookie.value), now };
    plan.verifier.verify(cookie.value, &carried).ok().map(Cookie::Session)
}

/// The session that the response has created, or named anew.
fn of_new(
    r: Request,
    context: &Context,
    plan: &Plan,
    learns: &Learns,
    id: SessionId,
    server: &[u8],
) -> Option<Write> {
    let lesson = Lesson::of_new(server)?;
    let route = learns.route_key(&id);
    // What a key is made of may be variables, which tell of the request's session but now.
    let before = context.id.replace(Some(id.clone()));
    let session = derive_key(r, plan, &id);
    context.id.replace(before);
    Some(write(route, session?, lesson, learns))
}

/// The session of the request, if the store has it.
fn of_known(
    r: Request,
    context: &Context,
    plan: &Plan,
    learns: &Learns,
    server: &[u8],
) -> Option<Write> {
    with_standing(r, context, plan, |result| {
        let answered = Answered {
            standing: &result.route,
            server,
            displaced: context.displaced.get(),
            touched: context.touched.get(),
            now: time_of_day() / 1000,
        };
        let lesson = answered.lesson()?;
        Some(write(result.route_key.clone()?, Rc::clone(&result.key), lesson, learns))
    })
}

/// Hands on the outcome where the plan's session was found, with what stands as its assignment for the plan.
pub(super) fn with_standing<T>(
    r: Request,
    context: &Context,
    plan: &Plan,
    read: impl FnOnce(&LookedUp) -> Option<T>,
) -> Option<T> {
    let route = match context.follows(plan) {
        true => context.route_key.borrow().clone(),
        false => route_key(r, context, plan),
    };
    let is_found = context.status(r, plan) == Status::Found;
    context.with_result(r, plan, |result| {
        (is_found && result.route_key == route).then(|| read(result))?
    })
}

fn write(route: Rc<[u8]>, session: Rc<[u8]>, lesson: Lesson, learns: &Learns) -> Write {
    Write { route, session, lesson, fallback: learns.fallback, now: time_of_day() / 1000 }
}
