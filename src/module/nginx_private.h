/*
 * What checks of the configuration read of structures that nginx keeps in its C files: the first members of
 * each, under names of our own. They are alike in every release that build.rs lists; on others the checks are
 * left out.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* ngx_http_limit_req_module.c: the data of a zone, an element of a location's list. */

typedef struct {
    void                      *shared;
    void                      *slab;
    ngx_uint_t                 rate;
    ngx_http_complex_value_t   key;
} session_redis_limit_req_zone_t;

typedef struct {
    ngx_shm_zone_t            *zone;
    ngx_uint_t                 burst;
    ngx_uint_t                 delay;
} session_redis_limit_req_t;


/* ngx_http_limit_conn_module.c, likewise. */

typedef struct {
    void                      *shared;
    void                      *slab;
    ngx_http_complex_value_t   key;
} session_redis_limit_conn_zone_t;

typedef struct {
    ngx_shm_zone_t            *zone;
    ngx_uint_t                 conn;
} session_redis_limit_conn_t;


/* ngx_http_upstream_keepalive_module.c: the settings of an upstream block. */

typedef struct {
    ngx_uint_t                 max_cached;
} session_redis_keepalive_t;


/* ngx_http_upstream_sticky_module.c of 1.29.6 and later, likewise. */

typedef struct {
    ngx_http_upstream_init_pt  original_init_upstream;
} session_redis_nginx_sticky_t;


#if (NGX_HTTP_CACHE)

/*
 * ngx_http_proxy_module.c: a location's settings from "proxy_method" to "proxy_http_version". Where these two
 * stand the module's own table of directives says, which shows whether the members between are these.
 */

typedef struct {
    ngx_http_complex_value_t  *method;
    ngx_str_t                  location;
    ngx_str_t                  url;
    ngx_http_complex_value_t   cache_key;
    ngx_str_t                  variables[5];
    ngx_flag_t                 redirect;
    ngx_uint_t                 http_version;
} session_redis_proxy_t;

/* ngx_http_fastcgi_module.c, from "fastcgi_catch_stderr" to "fastcgi_keep_conn". */

typedef struct {
    ngx_array_t               *catch_stderr;
    ngx_array_t               *lengths;
    ngx_array_t               *values;
    ngx_flag_t                 keep_conn;
    ngx_http_complex_value_t   cache_key;
} session_redis_fastcgi_t;


/* ngx_http_uwsgi_module.c, from "uwsgi_param" to "uwsgi_string"; ngx_http_scgi_module.c, from "scgi_param". */

typedef struct {
    ngx_array_t               *params_source;
    ngx_array_t               *lengths;
    ngx_array_t               *values;
    ngx_http_complex_value_t   cache_key;
    ngx_str_t                  string;
} session_redis_uwsgi_t;

#endif
