# Rack's cookie parser. Usage: cookies.rb NAME
# A Cookie header in hexadecimal a line; the value under the name likewise, or "-".
require 'rack'

name = ARGV.fetch(0)
$stdin.each_line do |line|
  header = [line.chomp].pack('H*')
  value = Rack::Utils.parse_cookies('HTTP_COOKIE' => header)[name]
  puts value.is_a?(String) ? value.unpack1('H*') : '-'
end
