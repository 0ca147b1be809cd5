#!/bin/sh
# Makes the certificates and keys of this folder anew: `sh make.sh` here. They are good for a hundred years and protect
# nothing: tests alone use them.
set -e
cd "$(dirname "$0")"
days="-days 36500"
key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }
root() { # NAME SUBJECT
	key "$1.key"
	openssl req -x509 -new -key "$1.key" -subj "$2" $days -out "$1.crt" \
		-addext basicConstraints=critical,CA:TRUE -addext keyUsage=keyCertSign
}
sign() { # NAME SUBJECT CA EXTENSIONS [MORE]
	openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
	printf '%b' "$4" >"$1.ext"
	openssl x509 -req -in "$1.csr" -CA "$3.crt" -CAkey "$3.key" -CAcreateserial ${5:-$days} -extfile "$1.ext" -out "$1.crt"
}
root ca /CN=test-ca
root other-ca /CN=test-ca
server="extendedKeyUsage=serverAuth\nsubjectAltName="
key server.key
sign server /CN=server ca "${server}IP:127.0.0.1,DNS:localhost,DNS:kube.test,DNS:*.wild.test,DNS:my_kube.test,IP:10.0.0.1\n"
key named.key
sign named /CN=named ca "${server}DNS:other.test\n"
key nameless.key
sign nameless /CN=127.0.0.1 ca "extendedKeyUsage=serverAuth\n"
key self.key
openssl req -x509 -new -key self.key -subj /CN=self $days -out self.crt -addext subjectAltName=IP:127.0.0.1 \
	-addext basicConstraints=critical,CA:FALSE
key mid.key
sign mid /CN=test-mid ca "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n"
key under-mid.key
sign under-mid /CN=under-mid mid "${server}IP:127.0.0.1\n"
key v1.key
openssl req -new -key v1.key -subj /CN=v1-root -out v1.csr
openssl x509 -req -in v1.csr -signkey v1.key $days -out v1.crt
key under-v1.key
sign under-v1 /CN=under-v1 v1 "${server}IP:127.0.0.1\n"
: >index.txt
echo 1000 >serial
printf '[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\nunique_subject=no\n[p]\nCN=supplied\n' >ca.cnf
for when in expired:20200101000000Z:20200201000000Z future:20900101000000Z:20910101000000Z; do
	name=${when%%:*}
	dates=${when#*:}
	key "$name.key"
	openssl req -new -key "$name.key" -subj "/CN=$name" -out "$name.csr"
	printf "${server}IP:127.0.0.1\n" >"$name.ext"
	openssl ca -batch -config ca.cnf -in "$name.csr" -out "$name.crt" -cert ca.crt -keyfile ca.key -notext \
		-startdate "${dates%%:*}" -enddate "${dates#*:}" -extfile "$name.ext"
done
client="extendedKeyUsage=clientAuth\n"
openssl ecparam -name prime256v1 -genkey -out c-sec1.key
openssl genrsa -traditional -out c-pkcs1.key 2048
openssl genrsa -out c-pkcs8.key 2048
openssl genpkey -algorithm ed25519 -out c-ed25519.key
openssl ecparam -name secp384r1 -genkey -noout -out c-p384.key
openssl ecparam -name secp521r1 -genkey -noout -out c-p521.key
for kind in sec1 pkcs1 pkcs8 ed25519 p384 p521; do sign "c-$kind" "/CN=$kind/O=ops" ca "$client"; done
openssl genrsa -out c-v1.key 2048
openssl req -new -key c-v1.key -subj /CN=v1/O=ops -out c-v1.csr
openssl x509 -req -in c-v1.csr -CA ca.crt -CAkey ca.key -CAcreateserial $days -out c-v1.crt
openssl ec -in c-sec1.key -aes128 -passout pass:abcd -out encrypted.key
openssl x509 -in c-sec1.crt -text -out with-text.crt
openssl x509 -in other-ca.crt -trustout -addtrust serverAuth -out trusted.crt
openssl x509 -in ca.crt -outform DER -out ca.der
rm -f ./*.csr ./*.ext ./*.srl index.txt* serial* ca.cnf ./*.pem ca.key other-ca.key mid.key v1.key
