# Rack with redis-rack, or with dalli and memcached. Environment: PORT, REDIS_PORT or MEMCACHED_PORT.
require 'rack'
require_relative 'login'

app = lambda do |env|
  session = env['rack.session']
  case env['PATH_INFO']
  when '/login' then log_in(session)
  when '/logout' then session.destroy
  end
  [200, { 'Content-Type' => 'text/plain' }, [(session['user_id'] || 'nobody').to_s]]
end

stores = {
  'redis' => lambda {
    require 'redis-rack'
    require 'rack/session/redis'
    [Rack::Session::Redis, { redis_server: "redis://127.0.0.1:#{ENV.fetch('REDIS_PORT')}/0/rack:session" }]
  },
  'dalli' => lambda {
    require 'rack/session/dalli'
    [Rack::Session::Dalli, { memcache_server: "127.0.0.1:#{ENV.fetch('MEMCACHED_PORT')}", compress: true, compression_min_size: 64 }]
  }
}
store, options = stores.fetch(ENV.fetch('STORE', 'redis')).call
stack = Rack::Builder.app do
  use store, expire_after: 3600, **options
  run app
end
Signal.trap('TERM', 'SYSTEM_DEFAULT')
Rack::Handler::WEBrick.run(stack, Host: '127.0.0.1', Port: ENV.fetch('PORT').to_i, AccessLog: [], Logger: WEBrick::Log.new(nil, 0))
