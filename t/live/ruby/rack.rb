# Rack with redis-rack. Environment: PORT, REDIS_PORT.
require 'rack'
require 'redis-rack'
require 'rack/session/redis'
require_relative 'login'

app = lambda do |env|
  session = env['rack.session']
  case env['PATH_INFO']
  when '/login' then log_in(session)
  when '/logout' then session.destroy
  end
  [200, { 'Content-Type' => 'text/plain' }, [(session['user_id'] || 'nobody').to_s]]
end

server = "redis://127.0.0.1:#{ENV.fetch('REDIS_PORT')}/0/rack:session"
stack = Rack::Builder.app do
  use Rack::Session::Redis, redis_server: server, expire_after: 3600
  run app
end
Signal.trap('TERM', 'SYSTEM_DEFAULT')
Rack::Handler::WEBrick.run(stack, Host: '127.0.0.1', Port: ENV.fetch('PORT').to_i, AccessLog: [], Logger: WEBrick::Log.new(nil, 0))
