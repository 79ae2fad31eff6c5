-- Sends requests of a file, any of them next, and tells how it went as one line of JSON.
-- Arguments: the file, the requests' separator, the mark that is replaced by a number of the same length that no other
-- request has, and the run's number.
-- Without a function `response`, since wrk would then copy every answer into Lua: it counts statuses from 400 by itself.

local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

function init(args)
  local file = assert(io.open(args[1], "rb"))
  local text, mark = file:read("*a"), args[3]
  file:close()
  heads, tails, sent = {}, {}, 0
  for one in text:gmatch("[^" .. args[2] .. "]+") do
    local from, to = one:find(mark, 1, true)
    heads[#heads + 1] = from and one:sub(1, from - 1) or one
    tails[#heads] = from and one:sub(to + 1)
  end
  stamp = string.format("%03d%d%%0%dd", args[4] % 1000, number, #mark - 4)
  math.randomseed(args[4] * 10 + number)
end

function request()
  local chosen = math.random(#heads)
  local tail = tails[chosen]
  if not tail then
    return heads[chosen]
  end
  sent = sent + 1
  return heads[chosen] .. stamp:format(sent) .. tail
end

function done(summary, latency)
  local errors = summary.errors
  io.stderr:write(string.format(
    '{"requests":%d,"seconds":%f,"p50":%f,"p90":%f,"p99":%f,"slowest":%f,"bytes":%d,"refused":%d,"broken":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(90) / 1e3,
    latency:percentile(99) / 1e3, latency.max / 1e3, summary.bytes, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout
  ))
end
