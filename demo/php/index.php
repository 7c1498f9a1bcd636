<?php
// The page with the links, and what the session holds.

require __DIR__ . '/page.php';

if (isset($_SESSION['user_id'])) {
    $state = '<p>Logged in as <b>' . text($_SESSION['name']) . '</b>. What PHP keeps in Redis:</p><table>';
    foreach ($_SESSION as $name => $value) {
        $state .= '<tr><th>' . text($name) . '<td>' . text($value);
    }
    $state .= '</table><form method="post" action="/logout"><button>Log out</button></form>';
} else {
    $state = '<p>Nobody is logged in. <a class="button" href="/login">Log in</a></p>';
}

$links = '<ul>
<li><a href="/app/">/app/</a> application B, open to everyone: a session is welcome, not needed
<li><a href="/members/">/members/</a> application B, for those who are logged in: nginx sends others to the login page
<li><a href="/admin/">/admin/</a> application B, for the role <code>admin</code>: alice has it, bob gets 403 from nginx
' . (is_dir(__DIR__ . '/../express') ? '<li><a href="/express/">/express/</a> the same login made by Express, with a signed cookie
' : '') . '</ul>';

page('Session Redis demo', $state . '<h2>What B sees</h2>' . $links);
