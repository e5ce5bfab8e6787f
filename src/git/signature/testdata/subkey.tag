object e241bee6d07e07df401b0fdb682fed515e2a9ff1
type commit
tag v-subkey
tagger t <t@example.org> 1795511274 +0000

Tag by subkey
-----BEGIN PGP SIGNATURE-----

iIkEABMIADEWIQSzBNiuSI+O1vVbkvR2WCQEEX7WnQUCawVT6hMcc3Via2V5QGV4
YW1wbGUub3JnAAoJEHZYJAQRftadcXcA/1buxoydxNqnwhT8WVz1IqmkAMXLr1J2
bG8faViPKlSiAP4nQBlV3RcWQd/LOkZgfh+Jycf27gjrpYTsZkEZoJLzig==
=iNPC
-----END PGP SIGNATURE-----
