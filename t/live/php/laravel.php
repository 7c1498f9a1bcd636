<?php
// Laravel's session in Redis or memcached behind its middleware for cookies, and its guard "web" that logs a user in; without the rest of
// the framework. ?do=login|who|logout
use Illuminate\Auth\GenericUser;
use Illuminate\Auth\SessionGuard;
use Illuminate\Cache\CacheServiceProvider;
use Illuminate\Config\Repository;
use Illuminate\Container\Container;
use Illuminate\Contracts\Auth\Authenticatable;
use Illuminate\Contracts\Auth\UserProvider;
use Illuminate\Contracts\Container\Container as ContainerContract;
use Illuminate\Contracts\Encryption\Encrypter as EncrypterContract;
use Illuminate\Cookie\CookieServiceProvider;
use Illuminate\Cookie\Middleware\EncryptCookies;
use Illuminate\Encryption\Encrypter;
use Illuminate\Http\Request;
use Illuminate\Http\Response;
use Illuminate\Pipeline\Pipeline;
use Illuminate\Redis\RedisServiceProvider;
use Illuminate\Session\Middleware\StartSession;
use Illuminate\Session\SessionManager;
use Illuminate\Session\SessionServiceProvider;

foreach (['Auth', 'Cache', 'Config', 'Container', 'Cookie', 'Encryption', 'Http', 'Pipeline', 'Redis', 'Session'] as $part) {
    require "Illuminate/$part/autoload.php";
}

$memcached = $_SERVER['MEMCACHED_PORT'] ?? null;
ini_set('memcached.compression_threshold', '100');
$app = new Container();
Container::setInstance($app);
$app->instance('config', new Repository([
    'session' => [
        'driver' => $memcached ? 'memcached' : 'redis', 'connection' => 'default', 'lifetime' => 120, 'expire_on_close' => false, 'cookie' => 'shop_session',
        'path' => '/', 'domain' => null, 'secure' => false, 'http_only' => true, 'same_site' => 'lax', 'lottery' => [0, 100],
        'encrypt' => false,
    ],
    'cache' => ['default' => 'redis', 'prefix' => 'shop_cache', 'stores' => [
        'redis' => ['driver' => 'redis', 'connection' => 'default'],
        'memcached' => ['driver' => 'memcached', 'servers' => [['host' => '127.0.0.1', 'port' => (int) $memcached, 'weight' => 100]]],
    ]],
    'database' => ['redis' => [
        'client' => 'phpredis',
        'options' => ['prefix' => 'shop_database_'],
        'default' => ['host' => '127.0.0.1', 'port' => $_SERVER['REDIS_PORT'], 'database' => 0],
    ]],
]));
foreach ([CacheServiceProvider::class, CookieServiceProvider::class, RedisServiceProvider::class, SessionServiceProvider::class] as $provider) {
    (new $provider($app))->register();
}
$app->singleton('encrypter', fn () => new Encrypter(base64_decode($_SERVER['APP_KEY']), 'AES-256-CBC'));
$app->instance(ContainerContract::class, $app);
$app->alias('encrypter', EncrypterContract::class);
$app->alias('session', SessionManager::class);

$answer = function (Request $request) use ($app) {
    $session = $request->session();
    $users = new class implements UserProvider {
        public function retrieveById($id) { return new GenericUser(['id' => $id]); }
        public function retrieveByToken($id, $token) {}
        public function updateRememberToken(Authenticatable $user, $token) {}
        public function retrieveByCredentials(array $credentials) {}
        public function validateCredentials(Authenticatable $user, array $credentials) {}
    };
    $guard = new SessionGuard('web', $users, $session, $request);
    $guard->setCookieJar($app['cookie']);
    switch ($request->query('do')) {
    case 'login':
        $guard->login(new GenericUser(['id' => 1001]));
        $session->put('user_id', 1001);
        $session->put('user', ['name' => '王小明 🚀', 'roles' => ['admin', 'editor'], 'nickname' => null]);
        $session->put('cart', ['items' => [['sku' => 'A-1', 'quantity' => 2]], 'total' => 19.99]);
        $session->put('since', new DateTimeImmutable('2024-02-29T13:14:15Z'));
        break;
    case 'logout':
        $guard->setUser(new GenericUser(['id' => $guard->id(), 'remember_token' => '']));
        $guard->logout();
        $session->invalidate();
    }
    return new Response((string) ($guard->id() ?? 'nobody'));
};

(new Pipeline($app))->send(Request::capture())->through([EncryptCookies::class, StartSession::class])->then($answer)->send();
