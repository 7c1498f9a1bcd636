# Rails in one file. Environment: PORT, REDIS_PORT, STORE (redis_store or cache_store), SIGNED (yes or no).
require 'rails'
require 'action_controller/railtie'
require 'redis-rails'
require 'rack/handler/webrick'
require_relative 'login'

REDIS = "redis://127.0.0.1:#{ENV.fetch('REDIS_PORT')}/0".freeze

class Shop < Rails::Application
  config.load_defaults 6.1
  config.root = __dir__
  config.eager_load = false
  config.logger = Logger.new($stderr)
  config.log_level = :error
  config.hosts.clear
  config.secret_key_base = 'the tests know this secret: 0123456789abcdef0123456789abcdef'
  config.action_dispatch.cookies_serializer = :json
  if ENV.fetch('STORE') == 'cache_store'
    config.cache_store = :redis_cache_store, { url: REDIS, namespace: 'shop' }
    config.session_store :cache_store, key: '_shop_session', expire_after: 5400
  else
    config.session_store :redis_store, servers: ["#{REDIS}/session"], key: '_shop_session', expire_after: 5400,
                                       signed: ENV.fetch('SIGNED') == 'yes'
  end
end

class UsersController < ActionController::Base
  def login
    reset_session
    log_in(session)
    show
  end

  def show
    render plain: (session['user_id'] || 'nobody').to_s
  end

  def logout
    reset_session
    render plain: 'gone'
  end
end

Shop.initialize!
Shop.routes.draw do
  get '/login', to: 'users#login'
  get '/who', to: 'users#show'
  get '/logout', to: 'users#logout'
end
Signal.trap('TERM', 'SYSTEM_DEFAULT')
Rack::Handler::WEBrick.run(Shop, Host: '127.0.0.1', Port: ENV.fetch('PORT').to_i, AccessLog: [], Logger: WEBrick::Log.new(nil, 0))
