import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.logging.Level;
import java.util.logging.Logger;
import org.apache.tomcat.util.http.MimeHeaders;
import org.apache.tomcat.util.http.Rfc6265CookieProcessor;
import org.apache.tomcat.util.http.ServerCookie;
import org.apache.tomcat.util.http.ServerCookies;

/**
 * Tomcat's cookie parser. Usage: java -cp … Cookies.java NAME
 * A Cookie header in hexadecimal a line; all values under the name, separated by blanks, or "-": Tomcat and Spring
 * go on to the next one while there is no session under an id.
 */
class Cookies {
    public static void main(String[] arguments) throws Exception {
        Logger.getLogger("org.apache.tomcat").setLevel(Level.OFF);
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        var processor = new Rfc6265CookieProcessor();
        var answers = new StringBuilder();
        for (String line; (line = in.readLine()) != null;) {
            byte[] header = HexFormat.of().parseHex(line);
            var headers = new MimeHeaders();
            headers.addValue("Cookie").setBytes(header, 0, header.length);
            var cookies = new ServerCookies(4);
            processor.parseCookieHeader(headers, cookies);
            var values = new StringBuilder();
            for (int i = 0; i < cookies.getCookieCount(); i++) {
                ServerCookie cookie = cookies.getCookie(i);
                cookie.getValue().getByteChunk().setCharset(StandardCharsets.UTF_8);
                if (cookie.getName().equals(arguments[0])) {
                    byte[] value = cookie.getValue().toString().getBytes(StandardCharsets.UTF_8);
                    values.append(values.isEmpty() ? "" : " ").append(HexFormat.of().formatHex(value));
                }
            }
            answers.append(values.isEmpty() ? "-" : values).append('\n');
        }
        System.out.print(answers);
    }
}
