# What every application here writes to the session when its user logs in.
def log_in(session)
  session['user_id'] = 1001
  session['user'] = { 'name' => '王小明 🚀', 'roles' => %w[admin editor], nickname: nil }
  session['cart'] = { 'items' => [{ 'sku' => 'A-1', 'quantity' => 2 }], 'total' => 19.99 }
  session['since'] = Time.utc(2024, 2, 29, 13, 14, 15)
end
