// An origin behind Postern, in Go with the standard library alone. Answers with who the gateway says is calling.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log"
	"math/big"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

var (
	issuer   = setting("GATEWAY_ISSUER", "http://127.0.0.1:8787")
	jwksURL  = setting("GATEWAY_JWKS", issuer+"/_gateway/jwks.json")
	audience = setting("GATEWAY_SITE", "demo")
	keys     = keySet{}
	b64      = base64.RawURLEncoding.Strict()
)

type userContext struct {
	Issuer    string `json:"iss"`
	Audience  string `json:"aud"`
	Expires   int64  `json:"exp"`
	Anonymous bool   `json:"anonymous"`
	User      struct {
		ID          string   `json:"id"`
		Name        string   `json:"name"`
		Role        string   `json:"role"`
		Permissions []string `json:"permissions"`
	} `json:"user"`
	Auth struct {
		Kind   string   `json:"kind"`
		ID     string   `json:"id"`
		Scopes []string `json:"scopes"`
	} `json:"auth"`
}

// verify checks signature, algorithm, type, issuer, audience and expiry of an X-User-Context header.
func verify(token string, now time.Time) (*userContext, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errors.New("not a compact JWS")
	}
	var header struct{ Alg, Kid, Typ string }
	if err := decode(parts[0], &header); err != nil {
		return nil, err
	}
	if header.Alg != "ES256" || header.Typ != "user-context+jwt" {
		return nil, errors.New("not a user context signed with ES256")
	}
	key, err := keys.find(header.Kid, now)
	if err != nil {
		return nil, err
	}
	signature, err := b64.DecodeString(parts[2])
	if err != nil || len(signature) != 64 {
		return nil, errors.New("malformed signature")
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	if !ecdsa.Verify(key, digest[:], r, s) {
		return nil, errors.New("wrong signature")
	}
	var context userContext
	if err := decode(parts[1], &context); err != nil {
		return nil, err
	}
	if context.Issuer != issuer || context.Audience != audience || now.Unix() >= context.Expires {
		return nil, errors.New("wrong issuer or audience, or expired")
	}
	return &context, nil
}

// keySet remembers the gateway's public keys; an unknown kid fetches them again, at most every 10 seconds.
type keySet struct {
	sync.Mutex
	known   map[string]*ecdsa.PublicKey
	fetched time.Time
}

func (set *keySet) find(kid string, now time.Time) (*ecdsa.PublicKey, error) {
	set.Lock()
	defer set.Unlock()
	age := now.Sub(set.fetched)
	if _, found := set.known[kid]; age > 10*time.Minute || (!found && age > 10*time.Second) {
		set.fetched = now
		if err := set.fetch(); err != nil && set.known == nil {
			return nil, err
		}
	}
	if key, found := set.known[kid]; found {
		return key, nil
	}
	return nil, errors.New("unknown key")
}

func (set *keySet) fetch() error {
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Get(jwksURL)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var jwks struct {
		Keys []struct{ Kty, Crv, Kid, X, Y string }
	}
	if response.StatusCode != http.StatusOK {
		return errors.New("JWKS: " + response.Status)
	}
	if err := json.NewDecoder(response.Body).Decode(&jwks); err != nil {
		return err
	}
	known := map[string]*ecdsa.PublicKey{}
	for _, key := range jwks.Keys {
		x, errX := b64.DecodeString(key.X)
		y, errY := b64.DecodeString(key.Y)
		if key.Kty == "EC" && key.Crv == "P-256" && errX == nil && errY == nil {
			public := &ecdsa.PublicKey{Curve: elliptic.P256(), X: new(big.Int).SetBytes(x), Y: new(big.Int).SetBytes(y)}
			if public.IsOnCurve(public.X, public.Y) {
				known[key.Kid] = public
			}
		}
	}
	set.known = known
	return nil
}

func decode(part string, into any) error {
	data, err := b64.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("content-type", "application/json")
		context, err := verify(r.Header.Get("X-User-Context"), time.Now())
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			json.NewEncoder(w).Encode(map[string]string{"error": "this server is reached through its gateway only"})
			return
		}
		if context.Anonymous {
			json.NewEncoder(w).Encode(map[string]string{"hello": "stranger"})
			return
		}
		name := context.User.Name
		if name == "" {
			name = context.User.ID
		}
		json.NewEncoder(w).Encode(map[string]string{"hello": name, "role": context.User.Role, "by": context.Auth.Kind})
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+setting("PORT", "9000"), nil))
}

func setting(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}
