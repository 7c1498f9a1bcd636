package org.springframework.security.authentication;

import java.util.Collection;

/** Has the fields of Spring Security's own. */
public class UsernamePasswordAuthenticationToken extends AbstractAuthenticationToken {
    private static final long serialVersionUID = 620L;
    private final Object principal;
    private final Object credentials = null;

    public UsernamePasswordAuthenticationToken(Object principal, Collection<?> authorities, Object details) {
        super(authorities, details);
        this.principal = principal;
    }
}
