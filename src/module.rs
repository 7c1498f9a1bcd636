//! The half that touches nginx: the module's record and its hooks, and all `unsafe` code below.
//! It decides nothing; what a request meets, in order, is in [`handler`].

#![allow(unsafe_code)]

mod address;
mod bits;
mod checks;
mod client;
mod cluster;
mod conf;
mod connection;
mod content;
mod context;
mod credentials;
mod destroy;
mod directives;
mod event;
mod explain;
mod files;
mod handler;
mod held;
mod identify;
mod learn;
mod lookup;
mod near_cache;
mod plan;
mod pool;
mod request;
mod resolver;
mod route;
mod routes;
mod sentinel;
mod sentinel_block;
mod shared_memory;
mod sticky;
mod store;
mod store_block;
mod store_servers;
mod template;
mod throttle;
mod tls;
mod touches;
mod variables;

use core::ffi::{c_char, c_void};
use core::ptr;

use nginx_sys::{
    ngx_array_push, ngx_conf_t, ngx_cycle_t, ngx_http_handler_pt, ngx_http_module_t,
    ngx_http_phases, ngx_http_phases_NGX_HTTP_ACCESS_PHASE,
    ngx_http_phases_NGX_HTTP_POST_READ_PHASE, ngx_http_phases_NGX_HTTP_PREACCESS_PHASE,
    ngx_http_phases_NGX_HTTP_PRECONTENT_PHASE, ngx_int_t, ngx_module_t, ngx_process, ngx_uint_t,
    NGX_ERROR, NGX_HTTP_MODULE, NGX_LOG_EMERG, NGX_OK, NGX_PROCESS_SINGLE, NGX_PROCESS_WORKER,
};
use ngx::core::{NGX_CONF_ERROR, NGX_CONF_OK};
use ngx::http::{
    HttpModule, HttpModuleLocationConf, HttpModuleMainConf, HttpModuleServerConf, NgxHttpCoreModule,
};
use ngx::ngx_conf_log_error;

use conf::{LocationConf, MainConf, ServerConf};

/// Of all that is not in nginx's pools; see the feature in `Cargo.toml`.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The module, for ngx's access to its configuration.
pub(crate) struct SessionRedis;

impl HttpModule for SessionRedis {
    fn module() -> &'static ngx_module_t {
        // SAFETY: nginx writes the record only while it loads modules.
        unsafe { &*ptr::addr_of!(ngx_http_session_redis_module) }
    }
}

// SAFETY: `conf::create` makes structures of these types for the module's slots.
unsafe impl HttpModuleMainConf for SessionRedis {
    type MainConf = MainConf;
}

// SAFETY: as above.
unsafe impl HttpModuleServerConf for SessionRedis {
    type ServerConf = ServerConf;
}

// SAFETY: as above.
unsafe impl HttpModuleLocationConf for SessionRedis {
    type LocationConf = LocationConf;
}

static CONTEXT: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: Some(preconfiguration),
    postconfiguration: Some(postconfiguration),
    create_main_conf: Some(conf::create::<MainConf>),
    init_main_conf: Some(init_main_conf),
    create_srv_conf: Some(conf::create::<ServerConf>),
    merge_srv_conf: Some(conf::merge_server),
    create_loc_conf: Some(conf::create::<LocationConf>),
    merge_loc_conf: Some(conf::merge_location),
};

/// Handlers of a phase run in the reverse order of their registration, so that a module registers
/// either early, to run last, or late, to run first. We need both: hence two modules.
static FIRST_CONTEXT: ngx_http_module_t = registering(register_first);

/// What keeps responses back must see them last, as a filter registered early does: hence a third.
static FILTER_CONTEXT: ngx_http_module_t = registering(register_filters);

/// Of a module that has nothing but handlers.
const fn registering(
    register: unsafe extern "C" fn(*mut ngx_conf_t) -> ngx_int_t,
) -> ngx_http_module_t {
    ngx_http_module_t {
        preconfiguration: None,
        postconfiguration: Some(register),
        create_main_conf: None,
        init_main_conf: None,
        create_srv_conf: None,
        merge_srv_conf: None,
        create_loc_conf: None,
        merge_loc_conf: None,
    }
}

/// The module's record.
#[no_mangle]
#[allow(non_upper_case_globals)]
pub(crate) static mut ngx_http_session_redis_module: ngx_module_t = ngx_module_t {
    ctx: ptr::addr_of!(CONTEXT).cast_mut().cast(),
    commands: &raw mut directives::COMMANDS as *mut _,
    type_: NGX_HTTP_MODULE as ngx_uint_t,
    init_process: Some(init_process),
    exit_process: Some(exit_process),
    ..ngx_module_t::default()
};

/// The record of what runs first in its phases.
#[no_mangle]
#[allow(non_upper_case_globals)]
pub(crate) static mut ngx_http_session_redis_first_module: ngx_module_t = ngx_module_t {
    ctx: ptr::addr_of!(FIRST_CONTEXT).cast_mut().cast(),
    type_: NGX_HTTP_MODULE as ngx_uint_t,
    ..ngx_module_t::default()
};

/// The record of the filters.
#[no_mangle]
#[allow(non_upper_case_globals)]
pub(crate) static mut ngx_http_session_redis_filter_module: ngx_module_t = ngx_module_t {
    ctx: ptr::addr_of!(FILTER_CONTEXT).cast_mut().cast(),
    type_: NGX_HTTP_MODULE as ngx_uint_t,
    ..ngx_module_t::default()
};

/// What nginx looks for in a loaded file: the modules, their names, and before which others they stand.
/// nginx's own build writes it, see `config`.
#[cfg(not(feature = "nginx-build"))]
mod exports {
    use super::{c_char, ngx_module_t, ptr};

    struct Names<const N: usize>([*const c_char; N]);

    // SAFETY: the pointers are to constants.
    unsafe impl<const N: usize> Sync for Names<N> {}

    #[no_mangle]
    #[allow(non_upper_case_globals)]
    static mut ngx_modules: [*const ngx_module_t; 4] = [
        &raw const super::ngx_http_session_redis_module,
        &raw const super::ngx_http_session_redis_first_module,
        &raw const super::ngx_http_session_redis_filter_module,
        ptr::null(),
    ];

    #[no_mangle]
    #[allow(non_upper_case_globals)]
    static ngx_module_names: Names<4> = Names([
        c"ngx_http_session_redis_module".as_ptr(),
        c"ngx_http_session_redis_first_module".as_ptr(),
        c"ngx_http_session_redis_filter_module".as_ptr(),
        ptr::null(),
    ]);

    /// The first stands before the access module, so that its handlers run after `allow` and `deny`,
    /// `limit_conn` and `limit_req`; the second, not in the list, behind all others; the third before the filters that
    /// are called before it.
    #[no_mangle]
    #[allow(non_upper_case_globals)]
    static ngx_module_order: Names<5> = Names([
        c"ngx_http_session_redis_module".as_ptr(),
        c"ngx_http_access_module".as_ptr(),
        c"ngx_http_session_redis_filter_module".as_ptr(),
        c"ngx_http_range_header_filter_module".as_ptr(),
        ptr::null(),
    ]);
}

const OK: ngx_int_t = NGX_OK as ngx_int_t;
const ERROR: ngx_int_t = NGX_ERROR as ngx_int_t;

unsafe extern "C" fn preconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    match variables::register(cf) {
        Ok(()) => OK,
        Err(error) => {
            ngx_conf_log_error!(NGX_LOG_EMERG, cf, "{error}");
            ERROR
        }
    }
}

/// All of http{} is read, its levels are not merged yet.
unsafe extern "C" fn init_main_conf(cf: *mut ngx_conf_t, main: *mut c_void) -> *mut c_char {
    // SAFETY: nginx hands over the structure that `create` made, used by nobody else now.
    let main = unsafe { &mut *main.cast::<MainConf>() };
    if let Err(error) = files::default_hash_key(main) {
        ngx_conf_log_error!(NGX_LOG_EMERG, cf, "{error}");
        return NGX_CONF_ERROR;
    }
    match store::locate_all(cf, main) {
        Ok(()) => NGX_CONF_OK,
        Err(mistake) => mistake.report(cf),
    }
}

unsafe extern "C" fn postconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: nginx calls the hook with the live configuration of http{}.
    unsafe {
        let registered =
            register(cf, ngx_http_phases_NGX_HTTP_PREACCESS_PHASE, handler::preaccess_last)
                .and_then(|()| register(cf, ngx_http_phases_NGX_HTTP_ACCESS_PHASE, handler::access))
                .and_then(|()| {
                    register(cf, ngx_http_phases_NGX_HTTP_PRECONTENT_PHASE, handler::precontent)
                });
        if registered.is_none() {
            return ERROR;
        }
        if let Some(main) = SessionRedis::main_conf(&*cf) {
            main.used.set(variables::Used::scan(cf));
            if !main.stores.is_empty() && main.shared.ask(cf).is_none() {
                return ERROR;
            }
        }
    }
    checks::all(cf)
}

unsafe extern "C" fn register_first(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: as above.
    let registered = unsafe {
        register(cf, ngx_http_phases_NGX_HTTP_POST_READ_PHASE, handler::post_read).and_then(|()| {
            register(cf, ngx_http_phases_NGX_HTTP_PREACCESS_PHASE, handler::preaccess_first)
        })
    };
    registered.map_or(ERROR, |()| OK)
}

unsafe extern "C" fn register_filters(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: nginx calls the hook with the live configuration of http{}, while it reads it.
    unsafe {
        if SessionRedis::main_conf(&*cf).is_some_and(learn::is_used) {
            held::register();
        }
    }
    OK
}

/// Adds a handler to a phase.
///
/// # Safety
/// `cf` must be the live configuration of http{}.
unsafe fn register(
    cf: *mut ngx_conf_t,
    phase: ngx_http_phases,
    handler: unsafe extern "C" fn(*mut nginx_sys::ngx_http_request_t) -> ngx_int_t,
) -> Option<()> {
    // SAFETY: the caller vouches for `cf`; the array of handlers was made by nginx.
    unsafe {
        let core = NgxHttpCoreModule::main_conf_mut(&*cf)?;
        let handlers = &raw mut core.phases.get_mut(phase as usize)?.handlers;
        let place = ngx_array_push(handlers).cast::<ngx_http_handler_pt>();
        place.as_mut().map(|place| *place = Some(handler))
    }
}

/// A worker leaves: nginx complains of connections that are still open after this.
unsafe extern "C" fn exit_process(cycle: *mut ngx_cycle_t) {
    // SAFETY: nginx calls the hook with the live cycle, and handles no event any more.
    unsafe {
        if let Some(main) = SessionRedis::main_conf(&*cycle) {
            learn::stop_all(main);
            store::stop_all(main);
        }
    }
}

/// A process starts. Those that manage the cache serve no requests, and have nothing to do with stores.
unsafe extern "C" fn init_process(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    // SAFETY: nginx calls the hook with the live cycle, and writes the variable before.
    let (main, log, process) =
        unsafe { (SessionRedis::main_conf(&*cycle), (*cycle).log, ngx_process as u32) };
    let serves = matches!(process, NGX_PROCESS_WORKER | NGX_PROCESS_SINGLE);
    if let Some(main) = main.filter(|_| serves) {
        let shared = match process {
            // SAFETY: a worker keeps its cycle to its end.
            NGX_PROCESS_WORKER => unsafe { main.shared.numbers() },
            // A single process does not, and has nobody to share with.
            _ => None,
        };
        store::start_all(main, log, shared);
        learn::start_all(main, log);
    }
    OK
}
