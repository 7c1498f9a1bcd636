<?php
// The session of Symfony's http-foundation in Redis or memcached, with the token of a user whom its firewall "main" has let in.
// ?do=login|who|logout
use Symfony\Component\HttpFoundation\Session\Session;
use Symfony\Component\HttpFoundation\Session\Storage\Handler\MemcachedSessionHandler;
use Symfony\Component\HttpFoundation\Session\Storage\Handler\RedisSessionHandler;
use Symfony\Component\HttpFoundation\Session\Storage\NativeSessionStorage;
use Symfony\Component\Security\Core\Authentication\Token\UsernamePasswordToken;
use Symfony\Component\Security\Core\User\InMemoryUser;

require 'Symfony/Component/HttpFoundation/autoload.php';
require 'Symfony/Component/Security/Core/autoload.php';

function handler()
{
    if (isset($_SERVER['MEMCACHED_PORT'])) {
        ini_set('memcached.compression_threshold', '100');
        $memcached = new Memcached();
        $memcached->addServer('127.0.0.1', (int) $_SERVER['MEMCACHED_PORT']);
        return new MemcachedSessionHandler($memcached);
    }
    $redis = new Redis();
    $redis->connect($_SERVER['REDIS_SOCKET']);
    return new RedisSessionHandler($redis);
}

$session = new Session(new NativeSessionStorage([], handler()));
$session->start();
switch ($_GET['do']) {
case 'login':
    $session->migrate(true);
    $session->set('user_id', 1001);
    $session->set('user', ['name' => '王小明 🚀', 'roles' => ['admin', 'editor'], 'nickname' => null]);
    $session->set('cart', ['items' => [['sku' => 'A-1', 'quantity' => 2]], 'total' => 19.99]);
    $session->set('since', new DateTimeImmutable('2024-02-29T13:14:15Z'));
    $user = new InMemoryUser('wang@example.com', 'hash', ['ROLE_ADMIN']);
    $session->set('_security_main', serialize(new UsernamePasswordToken($user, 'main', $user->getRoles())));
    break;
case 'logout':
    $session->invalidate();
}
echo $session->get('user_id', 'nobody');
