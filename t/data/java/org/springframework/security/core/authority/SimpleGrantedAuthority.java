package org.springframework.security.core.authority;

/** Has the fields of Spring Security's own. */
public record SimpleGrantedAuthority(String role) implements java.io.Serializable {}
