<?php
// The login form (GET) and the login itself (POST). After it, back to where the visitor was sent from.

require __DIR__ . '/page.php';

const USERS = [
    'alice' => ['user_id' => 1001, 'name' => 'Alice Łukasik', 'roles' => ['admin', 'editor']],
    'bob'   => ['user_id' => 1002, 'name' => 'Bob',           'roles' => ['editor']],
];

/** Only a path of this server: no other host, however it is written. */
function next_page(): string
{
    $next = $_REQUEST['next'] ?? '/';
    return is_string($next) && preg_match('#^/(?![/\\\\])[\x21-\x5b\x5d-\x7e]*$#D', $next) ? $next : '/';
}

$error = '';
if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    $login = $_POST['user'] ?? '';
    if (is_string($login) && isset(USERS[$login]) && ($_POST['password'] ?? '') === $login) {
        session_regenerate_id(true);
        $_SESSION = USERS[$login];
        header('Location: ' . next_page(), true, 303);
        exit;
    }
    http_response_code(403);
    $error = '<p class="error">No such user, or another password.</p>';
}

page('Log in', $error . '<form method="post" action="/login">
<input type="hidden" name="next" value="' . text(next_page()) . '">
<label>User <input name="user" value="alice" autofocus></label>
<label>Password <input name="password" type="password" value="alice"></label>
<button>Log in</button></form>
<p>There are alice and bob; the password is the name.</p>');
