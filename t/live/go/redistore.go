// gorilla/sessions with redistore. Usage: redistore PORT REDIS_PORT gob|json HASH_KEY [BLOCK_KEY]
package main

import (
	"encoding/gob"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/boj/redistore"
	"github.com/gorilla/sessions"
)

// write is what the session of a user who has logged in holds.
func write(session *sessions.Session) {
	session.Values["user_id"] = 1001
	session.Values["user"] = map[string]interface{}{"name": "王小明 🚀", "roles": []string{"admin", "editor"}}
	session.Values["cart"] = map[string]interface{}{
		"items": []interface{}{map[string]interface{}{"sku": "A-1", "quantity": 2}},
		"total": 19.99,
	}
	session.Values["since"] = time.Date(2024, time.February, 29, 13, 14, 15, 0, time.UTC)
}

func main() {
	port, redisPort, serializer := os.Args[1], os.Args[2], os.Args[3]
	var keys [][]byte
	for _, key := range os.Args[4:] {
		keys = append(keys, []byte(key))
	}
	gob.Register(map[string]interface{}{})
	gob.Register([]interface{}{})
	gob.Register(time.Time{})

	store, err := redistore.NewRediStore(10, "tcp", "127.0.0.1:"+redisPort, "", keys...)
	if err != nil {
		log.Fatal(err)
	}
	if serializer == "json" {
		store.SetSerializer(redistore.JSONSerializer{})
	}

	answer := func(path string, change func(*sessions.Session)) {
		http.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			session, _ := store.Get(r, "session-name")
			change(session)
			user := session.Values["user_id"]
			if path != "/who" {
				if err := session.Save(r, w); err != nil {
					http.Error(w, err.Error(), http.StatusInternalServerError)
					return
				}
			}
			if user == nil {
				user = "nobody"
			}
			fmt.Fprint(w, user)
		})
	}
	answer("/login", write)
	answer("/who", func(*sessions.Session) {})
	answer("/logout", func(session *sessions.Session) { session.Options.MaxAge = -1 })
	log.Fatal(http.ListenAndServe("127.0.0.1:"+port, nil))
}
