<?php
// What the pages of application A share: the session, and the frame around a page.

session_start();

function text(mixed $value): string
{
    return htmlspecialchars(is_string($value) ? $value : json_encode($value, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES));
}

function page(string $title, string $body): void
{
    header('Content-Type: text/html; charset=utf-8');
    header('Cache-Control: no-store');
    $style = file_get_contents(__DIR__ . '/../style.css');
    echo "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">",
        "<title>$title</title>\n<style>\n$style</style>\n<body><p class=\"who\">Application A · PHP ", PHP_VERSION,
        " · writes the session</p>\n<h1>$title</h1>\n$body\n</body></html>\n";
}
