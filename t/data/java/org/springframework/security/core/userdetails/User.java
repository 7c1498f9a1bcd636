package org.springframework.security.core.userdetails;

import java.io.Serializable;
import java.util.*;

/** Has the fields of Spring Security's own. */
public class User implements Serializable {
    private static final long serialVersionUID = 620L;
    private final String password = null;
    private final String username;
    private final Set<Object> authorities;
    private final boolean accountNonExpired = true;
    private final boolean accountNonLocked = true;
    private final boolean credentialsNonExpired = true;
    private final boolean enabled = true;

    public User(String username, Collection<?> authorities) {
        this.username = username;
        Set<Object> sorted = new TreeSet<>(new AuthorityComparator());
        sorted.addAll(authorities);
        this.authorities = Collections.unmodifiableSet(sorted);
    }

    private static class AuthorityComparator implements Comparator<Object>, Serializable {
        private static final long serialVersionUID = 620L;

        @Override
        public int compare(Object one, Object other) {
            return one.toString().compareTo(other.toString());
        }
    }
}
