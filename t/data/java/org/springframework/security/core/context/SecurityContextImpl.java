package org.springframework.security.core.context;

/** Has the fields of Spring Security's own. */
public class SecurityContextImpl implements java.io.Serializable {
    private static final long serialVersionUID = 620L;
    private final Object authentication;

    public SecurityContextImpl(Object authentication) {
        this.authentication = authentication;
    }
}
