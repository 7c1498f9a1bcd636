<?php
// Ends the session: PHP deletes it in Redis. The cookie may stay, it opens nothing any more.

require __DIR__ . '/page.php';

if ($_SERVER['REQUEST_METHOD'] !== 'POST') {
    http_response_code(405);
    header('Allow: POST');
    exit;
}

session_destroy();
header('Location: /', true, 303);
