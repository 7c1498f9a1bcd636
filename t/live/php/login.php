<?php
// Plain PHP with phpredis. ?do=login|who|logout&handler=… (session.serialize_handler)
ini_set('session.serialize_handler', $_GET['handler']);
session_start();
switch ($_GET['do']) {
case 'login':
    $_SESSION['user_id'] = 1001;
    $_SESSION['user'] = ['name' => '王小明 🚀', 'roles' => ['admin', 'editor'], 'nickname' => null];
    $_SESSION['cart'] = ['items' => [['sku' => 'A-1', 'quantity' => 2]], 'total' => 19.99];
    $_SESSION['since'] = new DateTimeImmutable('2024-02-29T13:14:15Z');
    break;
case 'logout':
    session_destroy();
    $_SESSION = [];
}
echo $_SESSION['user_id'] ?? 'nobody';
