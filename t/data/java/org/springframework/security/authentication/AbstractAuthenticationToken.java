package org.springframework.security.authentication;

import java.util.*;

/** Has the fields of Spring Security's own. */
public abstract class AbstractAuthenticationToken implements java.io.Serializable {
    private final Collection<Object> authorities;
    private final Object details;
    private final boolean authenticated = true;

    public AbstractAuthenticationToken(Collection<?> authorities, Object details) {
        this.authorities = Collections.unmodifiableList(new ArrayList<>(authorities));
        this.details = details;
    }
}
