-- The session of a request, decoded by cjson; connections to Redis are kept. The cookie's signature is not checked: less work than
-- the module's. "cached" keeps what was decoded for a second in each worker, whatever becomes of it in Redis.
local session = {}
local kept = require("resty.lrucache").new(100000)

local function fetch(id, port)
  local client = require("nginx.redis"):new()
  client:set_timeout(250)
  local ok, err = client:connect("127.0.0.1", port)
  if not ok then ngx.log(ngx.ERR, err) ngx.exit(503) end

  local value, err = client:get("sess:" .. id)
  if err then ngx.log(ngx.ERR, err) ngx.exit(503) end
  client:set_keepalive(3600000, 128)
  return value ~= ngx.null and require("cjson.safe").decode(value) or nil
end

local function id()
  return string.match(ngx.var["cookie_connect.sid"] or "", "^s%%3A([%w_-]+)%.")
end

function session.uncached(port)
  local id = id()
  return id and fetch(id, port)
end

function session.cached(port)
  local id = id()
  local found = id and kept:get(id)
  if id and not found then
    found = fetch(id, port)
    kept:set(id, found, 1)
  end
  return found
end

return session
