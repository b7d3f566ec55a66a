from xai_sdk import Client
from xai_sdk.chat import user

client = Client()
chat = client.chat.create(model="grok-4")
chat.append(user("hello"))
print(chat.sample().content)
