import sys

import litellm

response = litellm.completion(model=sys.argv[1], messages=[{"role": "user", "content": "hello"}])
print(response.choices[0].message.content)
