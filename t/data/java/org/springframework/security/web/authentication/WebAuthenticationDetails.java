package org.springframework.security.web.authentication;

/** Has the fields of Spring Security's own. */
public class WebAuthenticationDetails implements java.io.Serializable {
    private static final long serialVersionUID = 620L;
    private final String remoteAddress = "192.0.2.7";
    private final String sessionId = null;
}
