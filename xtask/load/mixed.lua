-- The mix of `cargo xtask bench load`, for wrk: 200 requests per second, one every 5 ms, each on whichever of the twenty
-- connections is free next. What a slow answer has held up is made up for, up to a second of it.
local ffi = require("ffi")
ffi.cdef("typedef struct { long seconds; long nanoseconds; } moment; int clock_gettime(int clock, moment *now);")
local every_ms = 5
local moment = ffi.new("moment")
local next_ms = nil

local function now_ms()
  ffi.C.clock_gettime(1, moment)
  return tonumber(moment.seconds) * 1000 + tonumber(moment.nanoseconds) / 1e6
end

local base = "/runtime/go-pilot/rollback-drill-notifications"
local json = { ["content-type"] = "application/json" }
local states = { "acknowledged", "escalated", "dismissed" }
local count = 0

function delay()
  local now = now_ms()
  next_ms = next_ms and math.max(next_ms + every_ms, now - 1000) or now
  return math.max(0, math.floor(next_ms - now + 0.5))
end

function request()
  count = count + 1
  local turn = count % 20
  local schedule = string.format("schedule-%03d", math.random(0, 99))
  local state = states[math.random(1, 3)]
  if turn == 0 then
    local body = string.format('{"filter":{"schedule_id":"%s","provider":"provider-3"},"acknowledged_by":"load","acknowledgement_state":"%s"}', schedule, state)
    return wrk.format("POST", base .. "/acknowledgements/bulk", json, body)
  elseif turn % 4 == 0 then
    local body = string.format('{"provider":"provider-%d","owner":"owner-%d","acknowledged_by":"load","acknowledgement_state":"%s"}', math.random(0, 9), math.random(0, 9), state)
    return wrk.format("POST", base .. "/" .. schedule .. "/acknowledgements", json, body)
  elseif turn % 4 == 1 then
    return wrk.format("GET", base .. "/routes?schedule_id=" .. schedule)
  elseif turn % 4 == 2 then
    return wrk.format("GET", base .. "/dashboard")
  else
    return wrk.format("GET", base .. "?schedule_id=" .. schedule .. "&limit=20")
  end
end

-- wrk itself counts only answers from 400 on.
not_2xx = 0
function response(status)
  if status < 200 or status > 299 then
    not_2xx = not_2xx + 1
  end
end

local threads = {}
function setup(thread)
  table.insert(threads, thread)
end

function done(summary, latency)
  local errors = summary.errors
  local others = 0
  for _, thread in ipairs(threads) do
    others = others + thread:get("not_2xx")
  end
  print(string.format(
    '{"requests":%d,"seconds":%.1f,"not_2xx":%d,"socket_errors":%d,"p50_ms":%.2f,"p99_ms":%.2f,"p999_ms":%.2f,"max_ms":%.2f}',
    summary.requests, summary.duration / 1e6, others,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency:percentile(99.9) / 1000, latency.max / 1000))
end
