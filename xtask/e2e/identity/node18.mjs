// Debian 12 has node 18; oidc-provider needs this one function of newer versions.
URL.parse ??= (address, base) => {
  try {
    return new URL(address, base);
  } catch {
    return null;
  }
};
