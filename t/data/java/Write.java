import java.io.*;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.net.URI;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.sql.Timestamp;
import java.time.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;

import org.springframework.security.authentication.UsernamePasswordAuthenticationToken;
import org.springframework.security.core.authority.SimpleGrantedAuthority;
import org.springframework.security.core.context.SecurityContextImpl;
import org.springframework.security.core.userdetails.User;
import org.springframework.security.web.authentication.WebAuthenticationDetails;

/**
 * Writes values as the JDK serialises them, and the JSON that each is to be read as:
 * javac -d classes Write.java && java -cp classes Write > jdk.json
 */
public class Write {
    static final List<String> rows = new ArrayList<>();

    enum Level { LOW, HIGH { @Override public String toString() { return "high!"; } } }

    static class Base implements Serializable {
        int id = 7;
        String name = "base";
    }

    static class Customer extends Base {
        String name = "user";
        transient String secret = "x";
        char letter = '\u00e9';
        byte small = -1;
        short less = -300;
        float ratio = 0.1f;
        Customer friend = this;
        Level level = Level.HIGH;
        Class<?> type = int[].class;
    }

    /** Its fields, then what it writes by itself. */
    static class Own implements Serializable {
        int id = 1;

        private void writeObject(ObjectOutputStream out) throws IOException {
            out.defaultWriteObject();
            out.writeUTF("ab");
            out.writeObject(Map.of("k", 1));
        }
    }

    public static class External implements Externalizable {
        public void writeExternal(ObjectOutput out) throws IOException {
            out.write(new byte[] {(byte) 0xff});
            out.writeObject("e");
            out.write("x".repeat(1500).getBytes());
        }

        public void readExternal(ObjectInput in) {}
    }

    static class Cart extends ArrayList<String> {
        String currency = "EUR";
    }

    static class Named extends HashMap<String, Integer> {
        String value = "own";

        private void writeObject(ObjectOutputStream out) throws IOException {
            out.defaultWriteObject();
            out.writeObject("more");
        }
    }

    record Point(int x, Long y) implements Serializable {}

    interface Greeter { void greet(); }

    static class Handler implements java.lang.reflect.InvocationHandler, Serializable {
        String of = "proxy";
        public Object invoke(Object proxy, java.lang.reflect.Method method, Object[] args) { return null; }
    }

    static String quoted(String text) {
        StringBuilder json = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            json.append(c < ' ' || c > '~' || c == '"' || c == '\\' ? String.format("\\u%04x", (int) c) : c);
        }
        return json.append('"').toString();
    }

    static byte[] bytes(Object... values) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
            for (Object value : values) {
                out.writeObject(value);
            }
        }
        return bytes.toByteArray();
    }

    static void row(String name, String json, Object... values) throws IOException {
        String stream = Base64.getEncoder().encodeToString(bytes(values));
        rows.add("{\"name\": " + quoted(name) + ", \"expected\": " + json + ",\n  \"base64\": \"" + stream + "\"}");
    }

    static void as(Object value, String json) throws IOException {
        row(value.getClass().getName(), json, value);
    }

    static void text(Object value) throws IOException {
        as(value, quoted(value.toString()));
    }

    static <T extends Collection<? super String>> T filled(T collection) {
        collection.add("a");
        collection.add("b");
        return collection;
    }

    static <T extends Map<Object, Object>> T filled(T map) {
        map.put("a", 1);
        map.put("b", List.of());
        return map;
    }

    static void scalars() throws Exception {
        as(true, "true");
        as((byte) -128, "-128");
        as((short) -2, "-2");
        as('\u00e9', "\"\\u00e9\"");
        as('\ud800', "\"\\ufffd\"");
        as(Integer.MIN_VALUE, "-2147483648");
        as(Long.MAX_VALUE, "9223372036854775807");
        as(0.1f, "0.1");
        as(-0.0, "-0.0");
        as(1e300, "1e300");
        as(Float.NaN, "\"NaN\"");
        as(Double.POSITIVE_INFINITY, "\"Infinity\"");
        as(Float.NEGATIVE_INFINITY, "\"-Infinity\"");
        as("nul \0, pair \ud83d\ude80", quoted("nul \0, pair \ud83d\ude80"));
        as("lone \udc00", "\"lone \\ufffd\"");
        as(new BigInteger("-123456789012345678901234567890"), "-123456789012345678901234567890");
        as(BigInteger.ZERO, "0");
        for (String digits : new String[] {"-12.75", "0", "0.00", "1E+3", "1.5E-10", "-0.000001", "12345678901234567890.5"}) {
            text(new BigDecimal(digits));
        }
        text(UUID.fromString("00010203-0405-0607-8809-0a0b0c0d0e0f"));
        text(new URI("https://user@example.org/a%20b?q#f"));
        text(new URL("https://user@example.org:8443/a?b#f"));
        text(new URL("file:/etc/hosts"));
        as(Level.HIGH, "\"HIGH\"");
        as(int[].class, "\"[I\"");
        as(new AtomicInteger(5), "5");
        as(new AtomicLong(-5), "-5");
        as(new AtomicBoolean(true), "true");
        as(new AtomicReference<>("r"), "\"r\"");
    }

    static void times() throws Exception {
        Calendar calendar = new GregorianCalendar(TimeZone.getTimeZone("Asia/Shanghai"));
        calendar.setTimeInMillis(1709212455123L);
        as(calendar, "\"2024-02-29T13:14:15.123Z\"");
        as(new Date(1709212455123L), "\"2024-02-29T13:14:15.123Z\"");
        as(new java.sql.Date(0), "\"1970-01-01T00:00:00Z\"");
        Timestamp timestamp = new Timestamp(-1);
        timestamp.setNanos(999999001);
        as(timestamp, "\"1969-12-31T23:59:59.999999001Z\"");
        text(Instant.ofEpochSecond(-1, 1000));
        text(LocalDate.of(-5, 1, 31));
        text(LocalDate.of(12345, 12, 1));
        as(LocalTime.of(9, 0), "\"09:00:00\"");
        as(LocalTime.of(9, 5), "\"09:05:00\"");
        text(LocalTime.of(9, 5, 59));
        text(LocalTime.of(23, 59, 59, 1000000));
        text(LocalDateTime.of(2024, 2, 29, 21, 14, 15));
        as(ZonedDateTime.of(2024, 7, 1, 1, 2, 3, 0, ZoneId.of("Europe/Berlin")), "\"2024-07-01T01:02:03+02:00\"");
        text(OffsetDateTime.of(2024, 7, 1, 1, 2, 3, 4, ZoneOffset.ofHoursMinutesSeconds(-1, -2, -3)));
        text(OffsetTime.of(1, 2, 3, 0, ZoneOffset.UTC));
        text(ZoneOffset.ofHoursMinutes(5, 45));
        text(ZoneId.of("Asia/Shanghai"));
        text(Year.of(2024));
        text(YearMonth.of(2024, 2));
        text(MonthDay.of(2, 29));
        text(Period.of(1, -2, 30));
        text(Period.ZERO);
        for (String duration : new String[] {"PT0S", "PT8H6M12.345S", "-PT1H0.5S", "-PT0.000000001S", "PT48H", "-PT1M"}) {
            text(Duration.parse(duration));
        }
        as(DayOfWeek.MONDAY, "\"MONDAY\"");
    }

    static void collections() throws Exception {
        String list = "[\"a\", \"b\"]", map = "{\"a\": 1, \"b\": []}";
        List<Object> lists = List.of(
            filled(new ArrayList<>()), filled(new LinkedList<>()), filled(new ArrayDeque<>()), filled(new HashSet<>()),
            filled(new LinkedHashSet<>()), filled(new TreeSet<>()), filled(new TreeSet<>(String.CASE_INSENSITIVE_ORDER)),
            filled(new PriorityQueue<>()), filled(new Vector<>()), filled(new Stack<>()), filled(new CopyOnWriteArrayList<>()),
            filled(new CopyOnWriteArraySet<>()), Arrays.asList("a", "b"), List.of("a", "b"),
            Collections.unmodifiableList(filled(new ArrayList<>())), Collections.unmodifiableList(filled(new LinkedList<>())),
            Collections.unmodifiableSet(filled(new LinkedHashSet<>())), Collections.unmodifiableSortedSet(new TreeSet<>(List.of("a", "b"))),
            Collections.unmodifiableCollection(filled(new ArrayList<>())), Collections.synchronizedList(filled(new ArrayList<>())),
            Collections.synchronizedSet(filled(new HashSet<>())), Collections.checkedList(new ArrayList<>(List.of("a", "b")), String.class),
            filled(new Cart()), new Object[] {"a", "b"});
        for (Object value : lists) {
            as(value, list);
        }
        List<Object> maps = List.of(
            filled(new HashMap<>()), filled(new LinkedHashMap<>()), filled(new Hashtable<>()), filled(new TreeMap<>()),
            filled(new TreeMap<>(Collections.reverseOrder())), filled(new ConcurrentHashMap<>()), filled(new ConcurrentSkipListMap<>()),
            Map.of("a", 1, "b", List.of()), filled(new Properties()),
            Collections.unmodifiableMap(filled(new HashMap<>())), Collections.unmodifiableSortedMap(filled(new TreeMap<>())),
            Collections.synchronizedMap(filled(new HashMap<>())), Collections.checkedMap(filled(new HashMap<>()), Object.class, Object.class));
        for (Object value : maps) {
            as(value, map);
        }
        for (Object empty : new Object[] {new ArrayList<>(), Collections.emptyList(), Collections.emptySet(), List.of(), Set.of(), new int[0]}) {
            as(empty, "[]");
        }
        for (Object empty : new Object[] {new TreeMap<>(), Collections.emptyMap(), Map.of(), new ConcurrentHashMap<>()}) {
            as(empty, "{}");
        }
        as(Collections.singletonList("a"), "[\"a\"]");
        as(Collections.singleton(null), "[null]");
        as(Collections.singletonMap("a", 1), "{\"a\": 1}");
        as(Set.of(1), "[1]");
        as(new EnumMap<>(Map.of(Level.LOW, 1, Level.HIGH, 2)), "{\"LOW\": 1, \"HIGH\": 2}");
        as(EnumSet.of(Level.LOW, Level.HIGH), "[\"LOW\", \"HIGH\"]");
        as(new IdentityHashMap<>(Map.of("a", 1)), "{\"a\": 1}");
        Named named = new Named();
        named.put("a", 1);
        as(named, "{\"a\": 1}");
    }

    static void keys() throws Exception {
        Map<Object, Object> keys = new LinkedHashMap<>();
        keys.put(null, 0);
        keys.put(1, 1);
        keys.put(-0.5, 2);
        keys.put(true, 3);
        keys.put(Level.LOW, 4);
        keys.put(new UUID(0, 1), 5);
        keys.put(LocalDate.of(2024, 2, 29), 6);
        keys.put(new URI("u:r"), 7);
        keys.put("\ud83d\ude80", 8);
        row("keys that are texts", "{\"null\": 0, \"1\": 1, \"-0.5\": 2, \"true\": 3, \"LOW\": 4, "
            + "\"00000000-0000-0000-0000-000000000001\": 5, \"2024-02-29\": 6, \"u:r\": 7, \"\\ud83d\\ude80\": 8}", keys);
        Map<Object, Object> pairs = new LinkedHashMap<>();
        pairs.put("a", 1);
        pairs.put(List.of(2), "b");
        row("keys that are none", "[[\"a\", 1], [[2], \"b\"]]", pairs);
    }

    static void objects() throws Exception {
        as(new Customer(), "{\"id\": 7, \"name\": \"user\", \"letter\": \"\\u00e9\", \"small\": -1, \"less\": -300, \"ratio\": 0.1, "
            + "\"friend\": null, \"level\": \"HIGH\", \"type\": \"[I\"}");
        as(new Own(), "{\"id\": 1, \"@data\": [\"\\u0000\\u0002ab\", {\"k\": 1}]}");
        as(new External(), "{\"@data\": [\"base64:/w==\", \"e\", " + quoted("x".repeat(1024)) + ", " + quoted("x".repeat(476)) + "]}");
        as(new Point(1, 2L), "{\"x\": 1, \"y\": 2}");
        Object proxy = java.lang.reflect.Proxy.newProxyInstance(Write.class.getClassLoader(), new Class<?>[] {Greeter.class}, new Handler());
        row("proxy", "{\"h\": {\"of\": \"proxy\"}}", proxy);
        as(new byte[] {0, -1}, "\"base64:AP8=\"");
        as("é".getBytes(StandardCharsets.UTF_8), "\"\\u00e9\"");
        as("c\ud83d\ude80".toCharArray(), "\"c\\ud83d\\ude80\"");
        as(new boolean[] {true, false}, "[true, false]");
        as(new short[] {-1}, "[-1]");
        as(new long[] {Long.MIN_VALUE}, "[-9223372036854775808]");
        as(new float[] {1.5f, Float.NaN}, "[1.5, \"NaN\"]");
        as(new double[] {0.1}, "[0.1]");
        as(new int[][] {{1}, null, {}}, "[[1], null, []]");
        Base shared = new Base();
        Object[] graph = {shared, shared, "s", "s", 7, null};
        graph[5] = graph;
        as(graph, "[{\"id\": 7, \"name\": \"base\"}, {\"id\": 7, \"name\": \"base\"}, \"s\", \"s\", 7, null]");
        row("several", "[1, \"a\", null, {\"k\": \"a\"}]", 1, "a", null, Map.of("k", "a"));
        row("null", "null", new Object[] {null});
    }

    static void security() throws Exception {
        List<Object> roles = List.of(new SimpleGrantedAuthority("ROLE_USER"), new SimpleGrantedAuthority("ROLE_ADMIN"));
        User user = new User("alice", roles);
        String json = "{\"authentication\": {\"authenticated\": true, \"authorities\": [{\"role\": \"ROLE_USER\"}, {\"role\": "
            + "\"ROLE_ADMIN\"}], \"details\": {\"remoteAddress\": \"192.0.2.7\", \"sessionId\": null}, \"credentials\": null, "
            + "\"principal\": {\"accountNonExpired\": true, \"accountNonLocked\": true, \"credentialsNonExpired\": true, "
            + "\"enabled\": true, \"authorities\": [{\"role\": \"ROLE_ADMIN\"}, {\"role\": \"ROLE_USER\"}], \"password\": null, "
            + "\"username\": \"alice\"}}}";
        as(new SecurityContextImpl(new UsernamePasswordAuthenticationToken(user, roles, new WebAuthenticationDetails())), json);
    }

    public static void main(String[] arguments) throws Exception {
        scalars();
        times();
        collections();
        keys();
        objects();
        security();
        System.out.println("[" + String.join(",\n", rows) + "]");
    }
}
