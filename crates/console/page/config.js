// Where the API is: scheme, host, port and, if there is one, a path in front of its paths. Empty means where this page
// came from. Whoever serves the page from elsewhere sets it, allows the page's origin on the API (CAVRA_CORS_ORIGINS),
// and adds the API to the page's policy: Content-Security-Policy: default-src 'self'; connect-src 'self' <the API>
window.CAVRA_API_BASE = '';
